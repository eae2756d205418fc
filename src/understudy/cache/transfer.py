"""Generations as files: JSONL to read and change, Parquet to keep and move.

A JSONL file begins with a line that says what it is; each further line is
``{"key": hex, "value": reply}``, or ``"base64"`` instead of ``value`` where the value is no JSON
that comes back byte for byte. Parquet holds the columns ``key`` and ``value``, and the same first
line in its metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from understudy.cache.base import CacheStore, Generation, GenerationWriter, Row
from understudy.cache.shared import chunks, find_generation
from understudy.cache.transfer_format import AT_ONCE, FORMAT, as_object, reading
from understudy.cache.transfer_jsonl import read_jsonl, write_jsonl
from understudy.cache.transfer_parquet import read_parquet, write_parquet
from understudy.errors import ConfigError, DataError
from understudy.model import Json

__all__ = ["Noted", "copy_cache", "export_cache", "import_cache"]

Noted = Callable[[int], None]
"""Called with the number of rows done so far."""

_PARQUET = {".parquet", ".pq"}
_JSONL = {".jsonl", ".ndjson"}


def _nothing(rows: int) -> None:
    del rows


def export_cache(
    store: CacheStore,
    cache: str,
    path: Path,
    *,
    generation: str | None = None,
    noted: Noted = _nothing,
) -> int:
    """Write a generation (default: the current one) to ``path``, which appears whole.

    Returns:
        How many rows there are in it.

    Raises:
        ConfigError: there is no such generation, or the name is no .jsonl or .parquet.
    """
    chosen = find_generation(cache, store.generations(cache), generation)
    head = {
        "understudy_cache": FORMAT,
        "cache": cache,
        "generation": chosen.id,
        "model": chosen.model,
        "entries": chosen.entries,
        "meta": chosen.meta,
    }
    write = _by_ending(path, parquet=write_parquet, jsonl=write_jsonl)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        written: int = write(made, head, _counted(store.scan(cache, chosen.id), noted))
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)
    return written


def import_cache(
    store: CacheStore,
    cache: str,
    path: Path,
    *,
    model: str | None = None,
    generation: str | None = None,
    force: bool = False,
    noted: Noted = _nothing,
) -> Generation:
    """Make what ``path`` holds the current generation of a cache.

    Nothing of a damaged file is published. Importing the same file again finds what it made.

    Args:
        store: where to.
        cache: its name there.
        path: what ``export_cache`` wrote.
        model: whose answers they are, where the file does not say.
        generation: id of the new one; default: ``import-`` and the file's hash.
        force: switch even though another generation is published meanwhile.
        noted: told how far it is.

    Raises:
        DataError: the file is damaged; says where.
        ConfigError: nobody says whose answers they are.
    """
    read = _by_ending(path, parquet=read_parquet, jsonl=read_jsonl)
    with reading(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    head, rows = read(path)
    model = model or head.get("model")
    if not isinstance(model, str) or not model:
        raise ConfigError(
            f"{path}: the file does not say which model version answered; name it with --model, "
            "since it is part of every key"
        )
    meta = {"imported_from": path.name, **as_object(head.get("meta"))}
    with store.writer(
        cache, generation or f"import-{digest[:12]}", model=model, meta=meta
    ) as writer:
        if writer.generation.order is None:
            _fill(writer, _counted(_whole(path, head, rows), noted))
        return writer.publish(force=force)


def copy_cache(
    source: CacheStore, store: CacheStore, cache: str, *, force: bool = False, noted: Noted
) -> Generation:
    """Bring the current generation of ``cache`` in ``source`` into ``store``, under the same id.

    Raises:
        ConfigError: there is none.
    """
    chosen = find_generation(cache, source.generations(cache), None)
    with store.writer(cache, chosen.id, model=chosen.model, meta=chosen.meta) as writer:
        if writer.generation.order is None:
            _fill(writer, _counted(source.scan(cache, chosen.id), noted))
        return writer.publish(force=force)


def _fill(writer: GenerationWriter, rows: Iterable[Row]) -> None:
    try:
        for part in chunks(rows, AT_ONCE):
            writer.put(part)
    except Exception:
        # Half of it is of no use to anybody: the next try begins anew.
        writer.abandon()
        raise


def _by_ending(path: Path, *, parquet: Any, jsonl: Any) -> Any:
    ending = path.suffix.lower()
    if ending in _PARQUET:
        return parquet
    if ending in _JSONL or path.name.lower().endswith(".jsonl.gz"):
        return jsonl
    raise ConfigError(f"{path}: give the file the ending .jsonl or .parquet")


def _counted(rows: Iterable[Row], noted: Noted) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        yield row
        if number % AT_ONCE == 0:
            noted(number)


def _whole(path: Path, head: Mapping[str, Json], rows: Iterable[Row]) -> Iterator[Row]:
    """The rows; at the end, an error where there are fewer than the file says of itself."""
    number = 0
    for number, row in enumerate(rows, 1):  # noqa: B007 - how many there were
        yield row
    told = head.get("entries")
    if isinstance(told, int) and told != number:
        raise DataError(
            f"the file ends early: it says that it has {told:,} rows and has {number:,}; export "
            "or fetch it again. Nothing was published",
            file=path,
        )
