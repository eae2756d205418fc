# mypy: ignore-errors

"""Exporting backends that break one line of the contract each; see mutants.py."""

from __future__ import annotations

import dataclasses
import time

import pytest

from understudy.errors import BackendError
from understudy.model import Absent, Found, Handle, ModelExport
from understudy.testing import BackendSuite, ExportingFakeAdapter, ExportingFakeBackend
from understudy.testing.fake_exporting import EXPORTING_FAKE_SPEC


class AsksForItsFormats(ExportingFakeBackend):
    def export_formats(self):
        self._ask(self.works.list_jobs)
        return super().export_formats()


class WaitsForTheExport(ExportingFakeBackend):
    def start_export(self, spec, *, key):
        handle = super().start_export(spec, key=key)
        time.sleep(0.01)
        return handle


class ExportsAnewEachTime(ExportingFakeBackend):
    def start_export(self, spec, *, key):
        return super().start_export(spec, key=f"{key}#{len(self.works.exports)}")


class StartsExportAgainOnTrouble(ExportingFakeBackend):
    def start_export(self, spec, *, key):
        try:
            return super().start_export(spec, key=key)
        except BackendError:
            return super().start_export(spec, key=key)


class FindsNoExport(ExportingFakeBackend):
    def find_export(self, spec, *, key):
        return Absent()


class FindsAnyExport(ExportingFakeBackend):
    def find_export(self, spec, *, key):
        for name in self.works.exports:
            return Found(handle=Handle(kind="export", id=name))
        return Absent()


class LeavesUnknownFormatsOut(ExportingFakeBackend):
    def start_export(self, spec, *, key):
        known = tuple(name for name in spec.formats if name in self.export_formats())
        return super().start_export(dataclasses.replace(spec, formats=known), key=key)


class ForgetsAFile(ExportingFakeBackend):
    def exported(self, handle):
        made = super().exported(handle)
        return ModelExport(model=made.model, files=made.files[1:])


class AnswersFewerRows(ExportingFakeBackend):
    def export_answers(self, handle, source):
        yield from list(super().export_answers(handle, source))[1:]


class NamesTheModelItself(ExportingFakeBackend):
    def exported(self, handle):
        made = super().exported(handle)
        return dataclasses.replace(made, model=made.model.rpartition(":")[0])


class ExportFailsWithoutAWord(ExportingFakeBackend):
    def poll_export(self, handle):
        return dataclasses.replace(super().poll_export(handle), problem=None)


class ExportsOfThisProcess(ExportingFakeBackend):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mine = set()

    def start_export(self, spec, *, key):
        handle = super().start_export(spec, key=key)
        self.mine.add(handle.id)
        return handle

    def poll_export(self, handle):
        if handle.id not in self.mine:
            raise BackendError("not mine")
        return super().poll_export(handle)


class CardChangesTheFiles(ExportingFakeBackend):
    def exported(self, handle):
        made = super().exported(handle)
        if handle.id not in self.cards:
            return made
        return ModelExport(model=made.model, files=())


class ExportsWithoutSayingSo(ExportingFakeBackend):
    """It exports; its table says no."""


def _suite(mutant: type[ExportingFakeBackend]) -> type[BackendSuite]:
    spec = EXPORTING_FAKE_SPEC
    if mutant is ExportsWithoutSayingSo:
        silent = dataclasses.replace(spec.capabilities.export, ok=False, reason="so it says")
        capabilities = dataclasses.replace(spec.capabilities, export=silent)
        spec = dataclasses.replace(spec, capabilities=capabilities)

    def provider(self):
        return ExportingFakeAdapter(mutant, spec)

    members = {"provider": pytest.fixture(provider), "__module__": __name__}
    return type(f"Test{mutant.__name__}", (BackendSuite,), members)


for _mutant in ExportingFakeBackend.__subclasses__():
    globals()[f"Test{_mutant.__name__}"] = _suite(_mutant)
