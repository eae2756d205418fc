"""From a source to a dataset: read, validate, clean, split, write; once for the same inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from understudy.data.dataset import FORMAT, Dataset, load_dataset
from understudy.data.folder import Draft, forget_dead_drafts, recall, remember
from understudy.data.tokens import RANKS_SHA256
from understudy.errors import ConfigError, DataError
from understudy.hookspecs import FilterSpec, TraceSourceSpec
from understudy.model import PAIRED_METHODS, Json, Method
from understudy.recipe import Cleaning, Source, Split

if TYPE_CHECKING:
    from understudy.data.build import Build
    from understudy.data.engine import Engine
    from understudy.data.filters import Chosen
    from understudy.data.work import Task

__all__ = ["prepare"]


def prepare(
    *,
    source: Source,
    cleaning: Cleaning,
    split: Split,
    method: Method,
    root: Path,
    max_row_tokens: int | None = None,
    progress: Callable[[int], None] | None = None,
    engine: Engine | None = None,
    sources: Mapping[str, TraceSourceSpec] | None = None,
    filters: Mapping[str, FilterSpec] | None = None,
) -> Dataset:
    """The dataset that ``source`` makes, in the folder ``root/<id>``.

    It streams: texts wait on the disk, and memory grows by a few hundred bytes a row. Rows that
    cannot be used go to ``rejected.jsonl`` with file, line, field and reason, and the others go
    on. The folder appears whole or not at all. Where the same file was prepared in the same way
    before, the dataset is found and no row is read. Two sources that make the same rows and
    counts share one dataset; its manifest names the first. The engine changes nothing in it.

    Args:
        source: the file and its kind; JSONL plain or gzip. Of a service, what was collected.
        cleaning: filters; ``drop`` but for duplicates and length apply to call logs only.
        split: shares of conversations and the seed.
        method: decides the format of the rows; dpo goes with the kind "preference", and only it.
        root: folder of all datasets.
        max_row_tokens: the backend's limit, beside that of ``cleaning``.
        progress: called with the number of records read so far, now and then and at the end.
        engine: where the work is done; default: this machine.
        sources: those of plugins, by name.
        filters: those of plugins, by name.

    Raises:
        ConfigError: kind and method do not go together, an unknown source or filter, or a
            library that is not installed.
        DataError: the file cannot be read, fewer than ten rows are left to train on, or a side
            of the split that has a share got no row. Then the rejected rows stand in
            ``root/failed``.
    """
    from understudy.data.intake import take_in

    intake = take_in(source, sources or {})
    chosen = _chosen(cleaning, filters)
    config = _config(
        source,
        cleaning,
        split,
        options=intake.options,
        chosen=chosen,
        method=method,
        limit=max_row_tokens,
    )
    before = _stamp(source.path)
    look = intake.survey()
    key = _hash({"source": look.sha256, "config": config, "format": FORMAT, "ranks": RANKS_SHA256})
    root.mkdir(parents=True, exist_ok=True)
    known = recall(root, key)
    if known is not None:
        return load_dataset(known)
    forget_dead_drafts(root)
    with Draft(root) as draft:
        chunks = intake.chunks(look, draft.path)
        task = intake.task(
            cleaning=cleaning,
            filters=tuple(chosen),
            split=split,
            method=method,
            limit=config["max_row_tokens"],
        )
        with closing(_build(task, source.path, split, engine, draft.path)) as build:
            build.read(chunks, progress)
            _require_unchanged(source.path, before)
            _check(build, draft, key)
            manifest = _manifest(build, config, source, look.sha256)
            intake.clear(draft.path)
        folder = draft.publish(manifest["id"], manifest)
    remember(root, key, folder)
    return load_dataset(folder)


def _build(task: Task, source: Path, split: Split, engine: Engine | None, folder: Path) -> Build:
    from understudy.data.build import Build
    from understudy.data.engine import Engine

    return Build(task=task, source=source, split=split, engine=engine or Engine(), folder=folder)


def _chosen(cleaning: Cleaning, filters: Mapping[str, FilterSpec] | None) -> list[Chosen]:
    if not cleaning.filters:
        return []
    from understudy.data.filters import choose_filters

    return choose_filters(cleaning.filters, filters or {})


def _check(build: Build, draft: Draft, key: str) -> None:
    kept = draft.root / "failed" / f"{key[:24]}.rejected.jsonl"
    try:
        build.check(kept)
    except DataError:
        build.settle()
        if build.rejected:
            draft.keep("rejected.jsonl", kept)
        raise


def _config(
    source: Source,
    cleaning: Cleaning,
    split: Split,
    *,
    options: Mapping[str, Json],
    chosen: list[Chosen],
    method: Method,
    limit: int | None,
) -> dict[str, Json]:
    if (source.kind == "preference") != (method in PAIRED_METHODS):
        raise ConfigError(
            f"[source.kind] {source.kind!r} does not go with [train.method] {method!r}: preference "
            "pairs are for dpo and bond, and those need them; change one of the two"
        )
    limits = [known for known in (limit, cleaning.max_row_tokens) if known is not None]
    config: dict[str, Json] = {
        "kind": source.kind,
        "method": method,
        "cleaning": cleaning.model_dump(
            mode="json", exclude={"filters", "near_duplicates", "held_out"}
        ),
        "split": split.model_dump(mode="json"),
        "max_row_tokens": min(limits, default=None),
    }
    if options:
        config["options"] = dict(options)
    if chosen:
        config["filters"] = [{"use": each.name, **each.options} for each in chosen]
    if cleaning.near_duplicates is not None:
        config["near_duplicates"] = cleaning.near_duplicates.model_dump(mode="json")
    if cleaning.held_out is not None:
        config["held_out"] = _held_out(cleaning.held_out)
    return config


def _held_out(path: Path) -> str:
    """What is in the golden set, not where it stands: that may differ between machines."""
    if path.is_dir():
        from understudy.data.golden import golden_set

        return golden_set(path).sha256
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}; check the path", file=path) from None


def _manifest(
    build: Build, config: Mapping[str, Json], source: Source, sha256: str
) -> dict[str, Json]:
    splits = {name: asdict(info) for name, info in build.settle().items()}
    rejected = {reason: build.rejected[reason] for reason in sorted(build.rejected)}
    content: dict[str, Json] = {
        "format": FORMAT,
        "method": config["method"],
        "config": config,
        "lines": build.lines,
        "blank": build.blank,
        "splits": splits,
        "rejected": {str(reason): count for reason, count in rejected.items()},
    }
    made = {"id": f"ds-{_hash(content)[:24]}", "created_by": version("understudy")}
    origin = {
        "name": source.path.name,
        "kind": source.kind,
        "sha256": sha256,
        "bytes": source.path.stat().st_size,
    }
    clusters = {str(size): many for size, many in sorted(build.clusters.items())}
    return made | content | {"source": origin, "clusters": clusters}


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}; check the path", file=path) from None
    return found.st_size, found.st_mtime_ns


def _require_unchanged(path: Path, before: tuple[int, int]) -> None:
    if _stamp(path) != before:
        raise DataError("changed while it was read; copy it first", file=path)


def _hash(value: Json) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
