"""The dataset record: an immutable folder, found by what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from understudy.data.split import SPLITS, SplitName
from understudy.data.write import SplitInfo
from understudy.errors import DataError
from understudy.model import Json, Message, Method, Rows

__all__ = ["FORMAT", "Dataset", "TestRow", "list_datasets", "load_dataset"]

FORMAT = 1
"""Version of the folder's layout and of everything that shapes its rows."""

_MANIFEST = "manifest.json"
_FIX = "remove the folder and prepare the dataset again"


@dataclass(frozen=True, kw_only=True, slots=True)
class TestRow:
    """One held-out question.

    ``label`` is the teacher's answer as ``answer_text`` writes it, ``reference`` a better one
    where it is known.
    """

    __test__ = False

    row_id: str
    source_id: str
    messages: tuple[Message, ...] = field(repr=False)
    tools: tuple[Message, ...] = field(default=(), repr=False)
    label: str = field(repr=False)
    reference: str | None = field(default=None, repr=False)

    @property
    def expected(self) -> str:
        """What an answer is scored against: the reference, else the label."""
        return self.label if self.reference is None else self.reference


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A folder with ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``, ``rejected.jsonl``.

    Args:
        id: ``ds-`` and 24 hex digits of a hash over the split files, the counts and ``config``.
        path: the folder.
        created_by: version of Understudy that wrote it.
        method: what the rows are for; it decides their format.
        source: ``name``, ``kind``, ``sha256`` and ``bytes`` of the file they came from.
        config: what shaped the rows: kind, method, cleaning, split with its seed, longest row.
        lines: lines read; ``blank`` of them were blank. The rest is in the splits or rejected.
        splits: what is in each file.
        rejected: dropped and rejected rows by reason code.
    """

    id: str
    path: Path
    created_by: str
    method: Method
    source: Mapping[str, Json]
    config: Mapping[str, Json]
    lines: int
    blank: int
    splits: Mapping[SplitName, SplitInfo]
    rejected: Mapping[str, int]

    @property
    def kept(self) -> int:
        """Rows in all splits together."""
        return sum(info.rows for info in self.splits.values())

    @property
    def dropped(self) -> int:
        """Rows in ``rejected.jsonl``."""
        return sum(self.rejected.values())

    @property
    def validation(self) -> Rows | None:
        """The validation file, None where it has no rows: a provider takes no empty file."""
        rows = self.rows("validation")
        return rows if rows.rows else None

    def file(self, split: SplitName) -> Path:
        """Where the rows of a split stand."""
        return self.path / f"{split}.jsonl"

    def rows(self, split: SplitName) -> Rows:
        """A split's file with its counts, as a backend takes it (train and validation)."""
        info = self.splits[split]
        return Rows(
            path=str(self.file(split)),
            sha256=info.sha256,
            rows=info.rows,
            tokens=info.tokens,
            longest=info.longest,
            bytes=info.bytes,
        )

    def examples(self, split: SplitName = "test") -> Iterator[TestRow]:
        """The held-out rows, one at a time, in the order of the source.

        Raises:
            DataError: another split was asked for, or the file is damaged.
        """
        if split != "test":
            raise DataError(f"the {split} rows are for training; ask for 'test'", field="split")
        path = self.file(split)
        with _opened(path) as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield _test_row(orjson.loads(line))
                except (orjson.JSONDecodeError, KeyError, TypeError):
                    raise DataError(f"is damaged; {_FIX}", file=path, line=number) from None

    def verify(self) -> None:
        """Read every split and hold it against its sha256.

        Raises:
            DataError: a file was changed or is gone.
        """
        for split in SPLITS:
            path = self.file(split)
            with _opened(path) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != self.splits[split].sha256:
                raise DataError(f"was changed after it was written; {_FIX}", file=path)


def load_dataset(path: Path, *, verify: bool = False) -> Dataset:
    """The dataset in the folder ``path``.

    Args:
        path: the folder that holds ``manifest.json``.
        verify: also read the rows and hold them against their sha256.

    Raises:
        DataError: there is none, it is damaged, or a later version wrote it.
    """
    place = path / _MANIFEST
    with _opened(place) as file:
        raw = file.read()
    try:
        dataset = _from_manifest(path, orjson.loads(raw))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise DataError(f"is damaged; {_FIX}", file=place) from None
    if verify:
        dataset.verify()
    return dataset


def list_datasets(root: Path) -> list[Dataset]:
    """All datasets under ``root`` in the order of their ids; none where ``root`` is absent.

    Raises:
        DataError: one of them is damaged.
    """
    return [load_dataset(place.parent) for place in sorted(root.glob(f"ds-*/{_MANIFEST}"))]


def _from_manifest(path: Path, data: Any) -> Dataset:
    if data["format"] != FORMAT:
        raise DataError(
            f"has format {data['format']}, this version reads {FORMAT}; upgrade understudy "
            "or prepare the dataset again",
            file=path / _MANIFEST,
        )
    names = ("id", "created_by", "method", "source", "config", "lines", "blank", "rejected")
    splits = {name: SplitInfo(**data["splits"][name]) for name in SPLITS}
    return Dataset(path=path, splits=splits, **{name: data[name] for name in names})


def _test_row(data: dict[str, Any]) -> TestRow:
    return TestRow(
        row_id=data["id"],
        source_id=data["source_id"],
        messages=tuple(data["messages"]),
        tools=tuple(data["tools"]),
        label=data["label"],
        reference=data["reference"],
    )


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror}); {_FIX}", file=path) from None
