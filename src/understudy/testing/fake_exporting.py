"""``FakeBackend`` for a provider whose models are files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

from understudy.backend import BackendSpec, Clock, FindResult, Support
from understudy.errors import BackendError, InvalidData, NotFound, OutcomeUnknown, Unavailable
from understudy.hookspecs import hookimpl
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
from understudy.testing.fake_backend import FAKE_SPEC, FakeBackend, FakeSettings
from understudy.testing.fake_exports import FORMATS, ExportingFakeProvider
from understudy.testing.fake_provider import FakeConnectionError, FakeHTTPError

__all__ = [
    "EXPORTING_FAKE_SPEC",
    "EXPORT_STATUSES",
    "ExportingFakeBackend",
    "understudy_backends",
]

EXPORTING_FAKE_SPEC: BackendSpec = replace(
    FAKE_SPEC,
    name="fake-exporting",
    target="understudy.testing.fake_exporting:ExportingFakeBackend",
    summary="a provider in memory whose models are files, for tests",
    capabilities=replace(FAKE_SPEC.capabilities, export=Support.yes()),
)

EXPORT_STATUSES: Mapping[str, RemoteState] = {
    "waiting": RemoteState.QUEUED,
    "converting": RemoteState.RUNNING,
    "done": RemoteState.SUCCEEDED,
    "broken": RemoteState.FAILED,
}
"""Every status that the fake provider documents for exports."""


class ExportingFakeBackend(FakeBackend):
    """Keeps the contract of ``SupportsExport`` over an ``ExportingFakeProvider``."""

    def __init__(
        self,
        *,
        name: str = "fake",
        settings: FakeSettings | None = None,
        clock: Clock | None = None,
        provider: ExportingFakeProvider | None = None,
    ) -> None:
        settings = settings or FakeSettings()
        if provider is None:
            named = ExportingFakeProvider.named
            made = named.setdefault(f"{settings.provider}+exporting", ExportingFakeProvider())
            provider = cast("ExportingFakeProvider", made)
        self.works = provider
        self.cards: dict[str, Mapping[str, Json]] = {}
        super().__init__(name=name, settings=settings, clock=clock, provider=provider)

    def export_formats(self) -> tuple[str, ...]:
        """Three."""
        return FORMATS

    def start_export(self, spec: ExportSpec, *, key: str) -> Handle:
        """One request; a key that has an export already is the same one."""
        body = {
            "model": spec.model,
            "formats": list(spec.formats),
            "serve": spec.serve,
            "questions": _questions(spec),
        }
        try:
            made = self.works.start_export(self._key(), key, body)
        except (FakeHTTPError, FakeConnectionError) as error:
            raise self._unstarted(error, key) from None
        return Handle(kind="export", id=made["key"])

    def _unstarted(self, error: FakeHTTPError | FakeConnectionError, key: str) -> BackendError:
        if isinstance(error, FakeHTTPError) and error.status == 400:
            words = f"name formats out of {', '.join(FORMATS)} in [export]"
            return InvalidData(f"{self.name}: {words}", status=400)
        known = self._error(error)
        if isinstance(known, Unavailable):
            return OutcomeUnknown(
                f"{self.name}: the export {key} got no clear answer; look for it by key",
                status=known.status,
            )
        return known

    def find_export(self, spec: ExportSpec, *, key: str) -> FindResult:  # noqa: ARG002
        """By its key, which is its name."""
        try:
            made = self._ask(self.works.export, key)
        except NotFound:
            return Absent()
        return Found(handle=Handle(kind="export", id=made["key"]))

    def poll_export(self, handle: Handle) -> RemoteStatus:
        """One look."""
        one = self._ask(self.works.export, handle.id)
        raw = str(one["status"])
        steps = [name for name in EXPORT_STATUSES if name != "broken"]
        step = steps.index(raw) if raw in steps else None
        return RemoteStatus(
            state=self._export_state(raw),
            raw=raw,
            problem=RemoteProblem(message=one["error"]) if one["error"] else None,
            progress=Progress(step=step, total_steps=len(steps) - 1),
        )

    def _export_state(self, raw: str) -> RemoteState:
        return EXPORT_STATUSES.get(raw, RemoteState.UNKNOWN)

    def exported(self, handle: Handle) -> ModelExport:
        """The files."""
        one = self._ask(self.works.export, handle.id)
        if self._export_state(one["status"]) is not RemoteState.SUCCEEDED:
            raise NotFound(f"{handle.id} is {one['status']!r} and has no files; wait until it ends")
        files = tuple(ExportedFile(**file) for file in one["files"])
        return ModelExport(model=f"{one['model']}:{one['serve']}", files=files)

    def export_answers(self, handle: Handle, source: str) -> Iterator[str]:
        """As the provider gives them."""
        yield from self._ask(self.works.answers, handle.id, source)

    def describe_export(self, handle: Handle, card: Mapping[str, Json]) -> None:
        """Kept here."""
        self.cards[handle.id] = card


def _questions(spec: ExportSpec) -> list[str]:
    with Path(spec.held_out).open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, spec.rows)]
    return [str(row["messages"][-1]["content"]) for row in rows]


@hookimpl
def understudy_backends() -> Iterable[BackendSpec]:
    """Yield the exporting fake; this module serves as a plugin, too."""
    yield EXPORTING_FAKE_SPEC
