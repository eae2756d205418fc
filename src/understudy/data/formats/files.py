"""A dataset's files in another ecosystem's rows."""

from __future__ import annotations

from pathlib import Path

import orjson

from understudy.data.dataset import Dataset
from understudy.data.formats import Format, read_row, row_writer
from understudy.data.lines import read_lines
from understudy.data.reasons import RowError
from understudy.errors import DataError

__all__ = ["export_rows"]


def export_rows(dataset: Dataset, folder: Path, to: Format) -> dict[str, int]:
    """Write ``train.jsonl`` and ``validation.jsonl`` to ``folder``, row by row.

    Returns:
        Rows by file name; a split without rows makes no file.

    Raises:
        DataError: a row cannot be said in that format; names file, line and field. Files that
            are there already are left alone and refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for split in ("train", "validation"):
        place = folder / f"{split}.jsonl"
        if place.exists():
            raise DataError("is there already; choose another folder", file=place)
        if dataset.splits[split].rows:
            written[place.name] = _convert(dataset, dataset.file(split), place, to)
    return written


def _convert(dataset: Dataset, source: Path, place: Path, to: Format) -> int:
    write = row_writer(to, dataset.method)
    draft = place.with_name(f".{place.name}.draft")
    rows = 0
    try:
        with draft.open("wb") as out:
            for line in read_lines(source):
                try:
                    row = write(read_row(orjson.loads(line.data), "openai", dataset.method))
                except RowError as error:
                    raise DataError(
                        error.message, file=source, line=line.number, field=error.field
                    ) from None
                out.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
                rows += 1
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
    return rows
