"""One pass over a source: every line ends in a split, among the rejected, or was blank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from understudy.data.clean import Seen
from understudy.data.lines import MAX_LINE, Line, read_lines
from understudy.data.reasons import Reason, RowError
from understudy.data.rows import Row, parse_line, row_parser
from understudy.data.split import SPLITS, SplitName, splitter
from understudy.data.write import (
    JsonlWriter,
    SplitInfo,
    rejected_line,
    row_tokens,
    test_row,
    training_row,
)
from understudy.errors import DataError
from understudy.model import Method
from understudy.recipe import Cleaning, Source, Split

__all__ = ["MIN_TRAIN_ROWS", "Build"]

MIN_TRAIN_ROWS = 10
"""Every provider wants as many; fewer teach nothing."""

_PROGRESS_EVERY = 1_000


class Build:
    """Reads a source into the files of a dataset under ``folder``.

    Args:
        source, cleaning, split, method: sections of the recipe.
        limit: longest row in tokens, None for any.
        folder: an empty folder.
    """

    def __init__(
        self,
        *,
        source: Source,
        cleaning: Cleaning,
        split: Split,
        method: Method,
        limit: int | None,
        folder: Path,
    ) -> None:
        self._source, self._split, self._method, self._limit = source, split, method, limit
        self._parse = row_parser(source.kind, cleaning)
        self._side = splitter(split)
        self._training_row = training_row(method)
        self._drops_repeats = "duplicate" in cleaning.drop
        self._scratch = folder / "seen.sqlite"
        self._seen = Seen(self._scratch)
        self._files = {name: JsonlWriter(folder / f"{name}.jsonl") for name in SPLITS}
        self._rejects = JsonlWriter(folder / "rejected.jsonl")
        self._first: dict[Reason, tuple[int, str]] = {}
        self.rejected: Counter[Reason] = Counter()
        self.lines = self.blank = 0

    def read(self, progress: Callable[[int], None] | None = None) -> None:
        """Take the whole source in; ``progress`` gets the number of lines so far."""
        for line in read_lines(self._source.path):
            self.lines += 1
            self._take(line)
            if progress is not None and self.lines % _PROGRESS_EVERY == 0:
                progress(self.lines)
        if progress is not None:
            progress(self.lines)

    def _take(self, line: Line) -> None:
        if not line.size:
            self.blank += 1
            return
        parsed = False
        try:
            raw = _parsed(line)
            parsed = True
            self._keep(self._parse(raw), line)
        except RowError as error:
            self._first.setdefault(error.reason, (line.number, error.field))
            self.rejected[error.reason] += 1
            self._rejects.write(rejected_line(self._source.path.name, line, error, parsed=parsed))

    def _keep(self, row: Row, line: Line) -> None:
        tokens, longest = row_tokens(row, self._method)
        if self._limit is not None and longest > self._limit:
            raise RowError(
                Reason.TOO_LONG, "", f"{longest} tokens; the limit is {self._limit}. Shorten it"
            )
        row_id = row.digest.hex()
        if self._drops_repeats:
            if not self._seen.add(row.digest):
                raise RowError(Reason.DUPLICATE, "", "the same row came before")
        else:
            row_id = f"{row_id}-{line.number}"
        side = self._side(row.example.source_id)
        value = test_row(row, row_id) if side == "test" else self._training_row(row)
        self._files[side].write(value, tokens=tokens, longest=longest)

    def check(self, kept: Path) -> None:
        """Whether this is enough to train and to judge on.

        Args:
            kept: where the rejected rows will be found if it is not, for the message.

        Raises:
            DataError: it is not.
        """
        rows = {name: self._files[name].rows for name in SPLITS}
        problem = ""
        if rows["train"] < MIN_TRAIN_ROWS:
            problem = (
                f"{rows['train']} usable training rows, {MIN_TRAIN_ROWS} are needed: give more "
                "rows, mend the rejected ones, or raise split.train"
            )
        for name in ("validation", "test"):
            if not problem and getattr(self._split, name) > 0 and not rows[name]:
                problem = (
                    f"no row fell to {name}: with few conversations chance decides; give more "
                    f"rows, raise split.{name}, take another split.seed, or set the share to 0"
                )
        if problem:
            raise DataError(f"{problem}. {self._account(rows, kept)}", file=self._source.path)

    def _account(self, rows: Mapping[SplitName, int], kept: Path) -> str:
        shares = ", ".join(f"{count} to {name}" for name, count in rows.items())
        told = f"Of {self.lines} lines, {self.blank} blank, went {shares}"
        total = self.rejected.total()
        if not total:
            return f"{told}; none was rejected."
        reasons = []
        for reason, count in self.rejected.most_common():
            line, field = self._first[reason]
            # Where the path holds names that the row chose, they stay in the dataset.
            told_field = field and reason not in {Reason.UNKNOWN_FIELD, Reason.NUL_CHARACTER}
            where = f"line {line} [{field}]" if told_field else f"line {line}"
            reasons.append(f"{reason.value} {count} (first: {where})")
        return f"{told}; {total} were rejected: {', '.join(reasons)}. They stand in {kept}"

    def settle(self) -> dict[SplitName, SplitInfo]:
        """Bring all files to the disk; what is in the splits."""
        self._rejects.sync()
        return {name: self._files[name].sync() for name in SPLITS}

    def close(self) -> None:
        """Let go of everything that is open."""
        self._seen.close()
        self._scratch.unlink(missing_ok=True)
        for file in (self._rejects, *self._files.values()):
            file.close()


def _parsed(line: Line) -> dict[str, Any]:
    if line.too_big:
        raise RowError(
            Reason.LINE_TOO_BIG,
            "",
            f"{line.size} bytes; a row may have {MAX_LINE}. Is a line ending missing?",
        )
    return parse_line(line.data)
