"""Golden sets: held-out rows chosen once, by stratum, and never changed again.

A set is a folder with ``v1.jsonl``, ``v2.jsonl`` ... and beside each a lock, ``v1.json``, with its
sha256. A later version holds every row of the one before it, so scores stay comparable on those.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from understudy.data.dataset import Dataset, TestRow
from understudy.data.lines import read_lines
from understudy.data.tokens import request_tokens
from understudy.errors import ConfigError, DataError
from understudy.model import Message
from understudy.recipe import NearDuplicates

if TYPE_CHECKING:
    from understudy.data.choose import Golden

__all__ = ["GoldenSet", "Stratum", "golden_set", "load_golden", "lock_golden"]

Stratum = Literal["label", "length", "none"]
"""What rows are sampled evenly over: equal labels, length of the request, or nothing."""

_BATCH = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenSet:
    """One locked version. ``strata`` counts rows by stratum; ``dataset`` is where they are from."""

    path: Path
    version: int
    rows: int
    sha256: str
    by: str
    seed: int
    dataset: str
    strata: Mapping[str, int]

    def verify(self) -> None:
        """Hold the rows against the lock.

        Raises:
            DataError: the file was changed or is gone.
        """
        try:
            found = hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(
                f"cannot be read ({error.strerror}); restore it from a copy", file=self.path
            ) from None
        if found != self.sha256:
            raise DataError(
                "was changed after it was locked, so scores on it mean nothing any more; restore "
                "it, or lock a new version",
                file=self.path,
            )


def golden_set(folder: Path, version: int | None = None) -> GoldenSet:
    """A version of the golden set in ``folder``, checked; the latest one by default.

    Raises:
        DataError: there is none, or it was changed.
    """
    versions = _versions(folder)
    wanted = version or max(versions, default=0)
    if wanted not in versions:
        raise DataError(
            f"there is no golden set {f'v{wanted} ' if version else ''}here; "
            "`understudy datasets golden` locks one",
            file=folder,
        )
    place = folder / f"v{wanted}.json"
    try:
        lock = orjson.loads(place.read_bytes())
        found = GoldenSet(path=folder / f"v{wanted}.jsonl", **lock)
    except (orjson.JSONDecodeError, TypeError):
        raise DataError("is damaged; restore it, or lock a new version", file=place) from None
    found.verify()
    return found


def lock_golden(
    dataset: Dataset, folder: Path, *, size: int, by: Stratum = "label", seed: int = 17
) -> GoldenSet:
    """Choose ``size`` of the dataset's test rows and lock them as the next version.

    Every stratum gets its share, at least one row while there are enough. Within a stratum a
    keyed hash of the row's id decides, so rows that are added elsewhere change nothing. Rows of
    the version before stay, whatever the dataset holds by now.

    Raises:
        DataError: there are fewer test rows than asked for.
        ConfigError: the version before has as many rows already.
    """
    before = golden_set(folder) if _versions(folder) else None
    kept = list(_lines(before.path)) if before else []
    if len(kept) >= size:
        raise ConfigError(
            f"version {before.version if before else 0} has {len(kept)} rows already; "
            "ask for more than that"
        )
    fresh = _chosen(dataset, {row["id"] for row in kept}, size - len(kept), by, seed)
    rows = kept + fresh
    strata: dict[str, int] = defaultdict(int)
    for row in rows:
        strata[row["stratum"]] += 1
    folder.mkdir(parents=True, exist_ok=True)
    version = (before.version if before else 0) + 1
    data = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    made = GoldenSet(
        path=folder / f"v{version}.jsonl",
        version=version,
        rows=len(rows),
        sha256=hashlib.sha256(data).hexdigest(),
        by=by,
        seed=seed,
        dataset=dataset.id,
        strata=dict(sorted(strata.items())),
    )
    _write_once(made.path, data)
    lock = {name: value for name, value in asdict(made).items() if name != "path"}
    # The lock comes last: rows without it are a version that never was.
    _write_once(made.path.with_suffix(".json"), orjson.dumps(lock, option=orjson.OPT_INDENT_2))
    return made


def load_golden(path: Path, near: NearDuplicates | None) -> Golden:
    """What a recipe's ``held_out`` holds rows against.

    Args:
        path: the folder of a golden set (its latest version), or a JSONL file of test rows or of
            chat rows.
        near: how likeness is measured; None compares questions only.

    Raises:
        DataError: there is none, it was changed, or a row in it cannot be used.
    """
    from understudy.data.choose import Golden
    from understudy.data.near import normalised, signatures

    file = golden_set(path).path if path.is_dir() else path
    asked: set[bytes] = set()
    said: list[str] = []
    for request, answer in _conversations(file):
        asked.add(
            hashlib.blake2b(normalised(request).encode(), digest_size=16).digest(),
        )
        said.append(f"{normalised(request)} {normalised(answer)}".strip())
    import numpy as np

    found = (
        [signatures(said[at : at + _BATCH], near) for at in range(0, len(said), _BATCH)]
        if (near is not None)
        else []
    )
    return Golden(
        asked=frozenset(asked),
        signatures=np.concatenate(found) if found else np.empty((0, 0), "<u4"),
    )


def _conversations(file: Path) -> Iterator[tuple[list[Message], list[Message]]]:
    for line in read_lines(file):
        if not line.size:
            continue
        try:
            row = orjson.loads(line.data)
            messages = row["messages"]
            if "label" in row:
                yield messages, [{"role": "assistant", "content": row["label"]}]
            else:
                yield messages[:-1], messages[-1:]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise DataError(
                "is neither a test row nor a chat row; mend the line or leave it out",
                file=file,
                line=line.number,
            ) from None


def _chosen(
    dataset: Dataset, taken: set[str], size: int, by: Stratum, seed: int
) -> list[dict[str, Any]]:
    groups: dict[str, list[tuple[bytes, str]]] = defaultdict(list)
    key = str(seed).encode()
    for row in dataset.examples("test"):
        if row.row_id not in taken:
            rank = hashlib.blake2b(row.row_id.encode(), key=key, digest_size=16).digest()
            groups[_stratum(row, by)].append((rank, row.row_id))
    there = sum(map(len, groups.values()))
    if there < size:
        raise DataError(
            f"{size} more golden rows were asked for and the test split has {there} that are "
            "free; ask for fewer, or raise split.test",
            file=dataset.file("test"),
        )
    wanted: dict[str, str] = {}
    for name, share in _shares({name: len(rows) for name, rows in groups.items()}, size).items():
        wanted |= {row_id: name for _, row_id in sorted(groups[name])[:share]}
    return [
        _golden_row(row, wanted[row.row_id])
        for row in dataset.examples("test")
        if row.row_id in wanted
    ]


def _shares(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Rows for each stratum: one where it can be, then by size, largest remainder first."""
    ranked = sorted(sizes, key=lambda name: (-sizes[name], name))
    shares = dict.fromkeys(ranked, 0)
    for name in ranked[:total]:
        shares[name] = 1
    left = total - sum(shares.values())
    room = {name: sizes[name] - shares[name] for name in ranked}
    there = sum(room.values())
    exact = {name: left * room[name] / there if there else 0.0 for name in ranked}
    for name in ranked:
        shares[name] += int(exact[name])
    rest = total - sum(shares.values())
    for name in sorted(ranked, key=lambda name: (int(exact[name]) - exact[name], name)):
        if rest and shares[name] < sizes[name]:
            shares[name] += 1
            rest -= 1
    return shares


def _stratum(row: TestRow, by: Stratum) -> str:
    if by == "label":
        return row.expected[:80]
    if by == "length":
        # Powers of two, in tokens of the request.
        return f"under {1 << request_tokens(row.messages, row.tools).bit_length()} tokens"
    return "all"


def _golden_row(row: TestRow, stratum: str) -> dict[str, Any]:
    return {
        "id": row.row_id,
        "source_id": row.source_id,
        "messages": row.messages,
        "tools": row.tools,
        "label": row.label,
        "reference": row.reference,
        "stratum": stratum,
    }


def _versions(folder: Path) -> list[int]:
    return [int(path.stem[1:]) for path in folder.glob("v*.json") if path.stem[1:].isdigit()]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in read_lines(path):
        yield orjson.loads(line.data)


def _write_once(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(0o444)
    if path.with_suffix(".json").exists():
        raise DataError("this version is locked; lock the next one", file=path)
    draft.replace(path)
