"""How a source comes to be chunks: as it stands, unpacked, or written out as records first."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.data.chunks import Chunk, Survey, survey
from understudy.data.filters import Chosen
from understudy.data.lines import is_gzip, readable
from understudy.data.sources import checked_options, file_reader, source_spec
from understudy.data.sources.collect import record_line
from understudy.data.work import Task
from understudy.errors import DataError
from understudy.hookspecs import TraceSourceSpec
from understudy.model import Json, Method
from understudy.recipe import Cleaning, Source, Split

__all__ = ["Intake", "take_in"]

_STAGED = "staged.jsonl"
_BLOCK = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """One source, with what reads it (None: its lines are rows) and its checked options."""

    source: Source
    spec: TraceSourceSpec | None
    options: Mapping[str, Json]

    @property
    def staged(self) -> bool:
        """Whether records are written out before they are cut into chunks."""
        return self.spec is not None and self.spec.reads != "lines"

    def survey(self) -> Survey:
        """The file's hash, and its chunks where they can be read as they are."""
        return survey(self.source.path)

    def chunks(self, look: Survey, folder: Path) -> tuple[Chunk, ...]:
        """The chunks to work on; what must be unpacked or written out first goes to ``folder``."""
        path = self.source.path
        staged = folder / _STAGED
        if self.spec is not None and self.spec.reads == "file":
            reader = file_reader(self.spec, self.options)
            with staged.open("wb") as out:
                out.writelines(map(record_line, reader.read(path)))
        elif is_gzip(path):
            _unpack(path, staged)
        else:
            return look.chunks
        return survey(staged).chunks

    def task(
        self,
        *,
        cleaning: Cleaning,
        filters: tuple[Chosen, ...],
        split: Split,
        method: Method,
        limit: int | None,
    ) -> Task:
        """What is done to each chunk."""
        lines = self.spec is not None and self.spec.reads == "lines"
        assert self.spec is not None or not lines
        return Task(
            name=self.source.path.name,
            kind=self.source.kind if self.spec is None else "calls",
            reader=(self.spec.target, dict(self.options)) if lines and self.spec else None,
            staged=self.staged,
            cleaning=cleaning,
            filters=filters,
            split=split,
            method=method,
            limit=limit,
        )

    def clear(self, folder: Path) -> None:
        """Take away what was only needed meanwhile."""
        (folder / _STAGED).unlink(missing_ok=True)


def take_in(source: Source, plugins: Mapping[str, TraceSourceSpec]) -> Intake:
    """The source with its reader and options.

    Raises:
        ConfigError: there is no such source, or its options cannot work.
        DataError: it is a service, and nothing was collected yet.
    """
    spec = source_spec(source, plugins)
    if spec is not None and spec.reads == "service" and not source.path.exists():
        raise DataError(
            "nothing was collected yet; `understudy datasets collect RECIPE` does",
            file=source.path,
        )
    # A service's options say what is fetched; what was fetched is in the file.
    known = spec is not None and spec.reads != "service"
    options = checked_options(spec, source.options) if spec and known else {}
    return Intake(source=source, spec=spec, options=options)


def _unpack(path: Path, staged: Path) -> None:
    with readable(path), gzip.open(path) as packed, staged.open("wb") as out:
        try:
            shutil.copyfileobj(packed, out, _BLOCK)
        except (EOFError, zlib.error) as error:
            raise DataError(
                f"the gzip file is damaged ({error}); fetch it again", file=path
            ) from None
