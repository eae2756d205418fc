"""From a source to the files of a dataset: cut, work, choose, write.

Every record of the source ends in a split or among the rejected, or was blank. Text waits in
scratch files in between, so memory grows by a few hundred bytes a record and no more.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from understudy.data.choose import Choice, choose
from understudy.data.chunks import Chunk
from understudy.data.engine import Engine, parts
from understudy.data.golden import load_golden
from understudy.data.parts import REJECTED, Part
from understudy.data.reasons import Reason
from understudy.data.split import SPLITS, SplitName
from understudy.data.work import Task
from understudy.data.write import JsonlWriter, SplitInfo
from understudy.errors import DataError
from understudy.recipe import Split

__all__ = ["MIN_TRAIN_ROWS", "Build"]

MIN_TRAIN_ROWS = 10
"""Every provider wants as many; fewer teach nothing."""

_WORDS = {
    Reason.DUPLICATE: "the same row stands on line {line}",
    Reason.NEAR_DUPLICATE: "nearly the same conversation stands on line {line}",
    Reason.HELD_OUT: "it is, exactly or nearly, in the golden set",
}


class Build:
    """Reads a source into the files of a dataset under ``folder``.

    Args:
        task: what is done to each record.
        source: the file that the user knows, for messages.
        split: shares of conversations.
        engine: where the work is done.
        folder: an empty folder.
    """

    def __init__(
        self, *, task: Task, source: Path, split: Split, engine: Engine, folder: Path
    ) -> None:
        self._task, self._source, self._split, self._engine = task, source, split, engine
        self._files = {name: JsonlWriter(folder / f"{name}.jsonl") for name in SPLITS}
        self._rejects = JsonlWriter(folder / "rejected.jsonl")
        self._scratch = folder / "scratch"
        self._scratch.mkdir()
        self._first: dict[str, tuple[int, str]] = {}
        self.rejected: Counter[str] = Counter()
        self.clusters: dict[int, int] = {}
        self.lines = self.blank = 0

    def read(
        self, chunks: tuple[Chunk, ...], progress: Callable[[int], None] | None = None
    ) -> None:
        """Take the whole source in; ``progress`` gets the number of records so far."""
        done = 0
        for index, packed in parts(chunks, self._task, self._engine):
            (self._scratch / str(index)).write_bytes(packed)
            done += Part.unpack(packed).lines
            if progress is not None:
                progress(done)
        self._write([Part.load(self._scratch / str(chunk.index)) for chunk in chunks])
        shutil.rmtree(self._scratch)

    def _write(self, made: list[Part]) -> None:
        for part in made:
            self.lines += part.lines
            self.blank += part.blank
            self.rejected += part.rejected
            for reason, where in part.first.items():
                self._first.setdefault(reason, where)
        if not made:
            return
        cleaning = self._task.cleaning
        golden = None
        if cleaning.held_out is not None:
            golden = load_golden(cleaning.held_out, cleaning.near_duplicates)
        choice = choose(made, cleaning, golden)
        self.clusters = choice.sizes
        number = 0
        for part in made:
            for position in range(len(part.columns["line"])):
                self._record(part, position, number, choice)
                number += 1

    def _record(self, part: Part, position: int, number: int, choice: Choice) -> None:
        columns = part.columns
        side = int(columns["side"][position])
        reason = choice.reason[number]
        if side == REJECTED:
            self._rejects.append(part.text(position))
        elif reason is None:
            self._files[SPLITS[side]].append(
                part.text(position),
                tokens=int(columns["tokens"][position]),
                longest=int(columns["longest"][position]),
            )
        else:
            self._leave_out(part, position, reason, choice, int(choice.kept[number]))

    def _leave_out(
        self, part: Part, position: int, reason: Reason, choice: Choice, kept: int
    ) -> None:
        line = int(part.columns["line"][position])
        stays = int(choice.lines[kept]) if kept >= 0 else 0
        self._first.setdefault(reason, (line, ""))
        self.rejected[reason] += 1
        self._rejects.write(
            {
                "file": self._task.name,
                "line": line,
                "field": "",
                "reason": reason.value,
                "message": _WORDS[reason].format(line=stays),
                "row": orjson.Fragment(bytes(part.raw(position))),
            }
        )

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
            raise DataError(f"{problem}. {self._account(rows, kept)}", file=self._source)

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
            reasons.append(f"{reason} {count} (first: {where})")
        return f"{told}; {total} were rejected: {', '.join(reasons)}. They stand in {kept}"

    def settle(self) -> dict[SplitName, SplitInfo]:
        """Bring all files to the disk; what is in the splits."""
        self._rejects.sync()
        return {name: self._files[name].sync() for name in SPLITS}

    def close(self) -> None:
        """Let go of everything that is open."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        for file in (self._rejects, *self._files.values()):
            file.close()
