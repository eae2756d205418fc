"""``SupportsExport`` of the local backend."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from understudy.backend import Clock, FindResult
from understudy.errors import BackendError, InvalidData, NotFound, OutcomeUnknown
from understudy.model import (
    Absent,
    ExportedFile,
    ExportSpec,
    Found,
    Handle,
    Json,
    ModelExport,
    Progress,
    RemoteProblem,
    RemoteState,
    RemoteStatus,
)
from understudy_local.artifacts import Home, ModelName, folder_id, trained
from understudy_local.export.card import write_card
from understudy_local.export.order import ExportOrder, read_order, to_json
from understudy_local.export.reference import read_answers
from understudy_local.formats import FORMATS, FileName
from understudy_local.machine import told
from understudy_local.settings import LocalSettings
from understudy_local.work import Work, attend, begin

__all__ = ["Exporting"]

_WORKER = "understudy_local.export.worker"
_STATES = {"succeeded": RemoteState.SUCCEEDED, "failed": RemoteState.FAILED}


class Exporting:
    """Its models are GGUF files, made and proven by a process of their own."""

    settings: LocalSettings
    clock: Clock

    def export_formats(self) -> tuple[str, ...]:
        """The kinds of GGUF file, the most exact first."""
        return tuple(FORMATS)

    def start_export(self, spec: ExportSpec, *, key: str) -> Handle:
        """Make the export's folder and start its process; one key is one folder.

        Raises:
            InvalidData: a format is not known, or there is no such trained model.
        """
        unknown = [name for name in spec.formats if name not in FORMATS]
        if unknown:
            raise InvalidData(
                f"{unknown[0]!r} is no GGUF format of this backend; name some of "
                f"{', '.join(FORMATS)} in [export] formats"
            )
        try:
            trained(Home(self.settings.home), spec.model)
        except NotFound as error:
            raise InvalidData(str(error)) from None
        work = self._export_of(spec, key)
        order = ExportOrder(key=key, created_at=self.clock.now(), spec=spec, settings=self.settings)
        try:
            self._begin_export(work, order)
        except OSError as error:
            raise _untold(error, work) from None
        return _handle(work)

    def _begin_export(self, work: Work, order: ExportOrder) -> None:
        begin(work, to_json(order))
        self._attend_export(work)

    def find_export(self, spec: ExportSpec, *, key: str) -> FindResult:
        """The folder that is named by the key, there or not."""
        try:
            work = self._export_of(spec, key)
        except NotFound:
            return Absent()
        return Found(handle=_handle(work)) if work.path.is_dir() else Absent()

    def poll_export(self, handle: Handle) -> RemoteStatus:
        """One look; an export that nobody does any more is taken up again."""
        work = self._work(handle)
        work.spec()
        self._attend_export(work)
        outcome = work.outcome()
        if outcome is None:
            now = work.progress()
            return RemoteStatus(
                state=RemoteState.RUNNING if "step" in now else RemoteState.QUEUED,
                raw=str(now.get("doing", "starting")),
                progress=Progress(step=now.get("step"), total_steps=now.get("total")),
            )
        problem = outcome.get("problem")
        return RemoteStatus(
            state=_STATES.get(outcome["state"], RemoteState.UNKNOWN),
            raw=str(outcome["state"]),
            problem=None if problem is None else RemoteProblem(**problem),
        )

    def exported(self, handle: Handle) -> ModelExport:
        """The files.

        Raises:
            NotFound: there are none, yet or at all.
        """
        work = self._work(handle)
        work.spec()
        outcome = work.outcome()
        if outcome is None or outcome["state"] != "succeeded":
            raise NotFound(f"the export {handle.id} has made no files; look at it with poll")
        job = work.path.parents[1]
        files = tuple(
            ExportedFile(**{**one, "path": os.fspath(job / one["path"])})
            for one in outcome["files"]
        )
        return ModelExport(model=outcome["model"], files=files)

    def export_answers(self, handle: Handle, source: str) -> Iterator[str]:
        """As the export's process wrote them."""
        path = self._work(handle).path / "answers" / f"{source}.jsonl"
        if not path.is_file():
            raise NotFound(f"the export {handle.id} has no answers of {source}")
        return read_answers(path)

    def describe_export(self, handle: Handle, card: Mapping[str, Json]) -> None:
        """The model card, ``README.md`` beside the files."""
        made = self.exported(handle)
        name = FileName.parse(made.model)
        assert name is not None
        place = Path(next(one.path for one in made.files if one.format == name.format)).parent
        licence = str((self._work(handle).outcome() or {}).get("licence", "unknown"))
        write_card(place / "README.md", card=card, licence=licence, files=made.files)

    def _export_of(self, spec: ExportSpec, key: str) -> Work:
        name = ModelName.parse(spec.model)
        if name is None:
            raise NotFound(f"{spec.model!r} is no trained model of this backend")
        folder = Home(self.settings.home).job(name.job)
        return Work(folder.path / "exports" / folder_id(key))

    def _work(self, handle: Handle) -> Work:
        job, _, export = handle.id.partition("/")
        if export != folder_id(export):
            raise NotFound(f"{handle.id!r} is no export of this backend")
        return Work(Home(self.settings.home).job(job).path / "exports" / export)

    def _attend_export(self, work: Work) -> None:
        threads = read_order(work).settings.threads
        attend(
            work,
            _WORKER,
            max_restarts=self.settings.max_restarts,
            environment={} if threads is None else {"OMP_NUM_THREADS": str(threads)},
        )


def _untold(error: OSError, work: Work) -> BackendError:
    """Trouble of disk or system while an export was started."""
    if work.path.exists():
        return OutcomeUnknown(f"{work.path} was made, and then: {error.strerror}; look for it")
    return told(error, what="begin the export", home=work.path.parent)


def _handle(work: Work) -> Handle:
    return Handle(kind="export", id=f"{work.path.parent.parent.name}/{work.id}")
