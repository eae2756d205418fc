# mypy: ignore-errors

"""Batching backends that break one line of the contract each; see mutants.py."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path

import pytest

from understudy.errors import BackendError, NotFound, Unavailable
from understudy.model import Absent, BatchFiles, BatchReply, Found, Handle, RemoteState
from understudy.testing import BatchingFakeAdapter, BatchingFakeBackend
from understudy.testing._batch import BatchTests
from understudy.testing._create import ShapeTests
from understudy.testing.fake_batching import BATCHING_FAKE_SPEC
from understudy.testing.fake_provider import FakeConnectionError, FakeHTTPError


class AsksForItsLimits(BatchingFakeBackend):
    def batch_limits(self, model):
        self._ask(self.desk.list_files)
        return super().batch_limits(model)


class LimitsFromNowhere(BatchingFakeBackend):
    def batch_limits(self, model):
        return dataclasses.replace(super().batch_limits(model), source="")


class CutsTheTexts(BatchingFakeBackend):
    def batch_row(self, request, *, custom_id):
        row = super().batch_row(request, custom_id=custom_id)
        row["body"]["messages"] = [{"role": "user", "content": "where is"}]
        return row


class InventsAName(BatchingFakeBackend):
    def batch_reply(self, row):
        if not (isinstance(row, dict) and row.get("custom_id")):
            return BatchReply(custom_id="unknown", outcome="retry")
        return super().batch_reply(row)


class UploadsTheBatchAgain(BatchingFakeBackend):
    def upload_batch(self, spec, *, key):
        file = self._ask(self.desk.upload, f"{key}-{time.monotonic_ns()}", b"")
        return Handle(kind="upload", id=file["id"])


class OneFileForAllBatches(BatchingFakeBackend):
    def upload_batch(self, spec, *, key):
        return super().upload_batch(spec, key="all")


class StartsTwoBatches(BatchingFakeBackend):
    def _send_batch(self, body):
        super()._send_batch(body)
        return super()._send_batch(body)


class WaitsForTheBatch(BatchingFakeBackend):
    def start_batch(self, spec, files, *, key):
        time.sleep(0.01)
        return super().start_batch(spec, files, key=key)


class SendsTheBatchAgainOnTrouble(BatchingFakeBackend):
    def _send_batch(self, body):
        try:
            return super()._send_batch(body)
        except (FakeConnectionError, FakeHTTPError):
            return super()._send_batch(body)


class SendsTheBatchAgainOn429(BatchingFakeBackend):
    def _send_batch(self, body):
        try:
            return super()._send_batch(body)
        except FakeHTTPError as error:
            if error.status != 429:
                raise
            return super()._send_batch(body)


class LostBatchIsUnavailable(BatchingFakeBackend):
    def start_batch(self, spec, files, *, key):
        try:
            return super().start_batch(spec, files, key=key)
        except BackendError as error:
            if type(error).__name__ == "OutcomeUnknown":
                raise Unavailable("try again") from None
            raise


class FindsNoBatch(BatchingFakeBackend):
    def find_batch(self, key, files):
        return Absent()


class FindsAnyBatch(BatchingFakeBackend):
    def find_batch(self, key, files):
        listed = self._ask(self.desk.list_batches)
        return Found(handle=self._batch_handle(listed[0])) if listed else Absent()


class HidesSurplusBatches(BatchingFakeBackend):
    def find_batch(self, key, files):
        found = super().find_batch(key, files)
        return dataclasses.replace(found, surplus=()) if isinstance(found, Found) else found


class SleepsInBatchPoll(BatchingFakeBackend):
    def poll_batch(self, handle):
        time.sleep(0.01)
        return super().poll_batch(handle)


class MissingBatchHasFailed(BatchingFakeBackend):
    def poll_batch(self, handle):
        try:
            return super().poll_batch(handle)
        except NotFound:
            return dataclasses.replace(super().poll_batch(handle), state=RemoteState.FAILED)

    def _ask(self, call, *args):
        if call == self.desk.batch and args[0] not in self.desk.batches:
            return {"status": "failed", "error": "gone", "total": 0}
        return super()._ask(call, *args)


class DropsTheLastRow(BatchingFakeBackend):
    def fetch_batch(self, handle, folder):
        found = super().fetch_batch(handle, folder)
        for path in found.paths:
            lines = Path(path).read_bytes().splitlines(keepends=True)
            Path(path).write_bytes(b"".join(lines[:-1]))
        return found


class OverQuotaIsAnyFailure(BatchingFakeBackend):
    def poll_batch(self, handle):
        return dataclasses.replace(super().poll_batch(handle), over_quota=False)


class ExpiredHasFailed(BatchingFakeBackend):
    def _batch_state(self, raw):
        return RemoteState.FAILED if raw == "expired" else super()._batch_state(raw)


class ExpiredRowsAreInvalid(BatchingFakeBackend):
    def batch_reply(self, row):
        reply = super().batch_reply(row)
        return dataclasses.replace(reply, outcome="invalid") if reply.problem else reply


class CancelOfEndedBatchRaises(BatchingFakeBackend):
    def cancel_batch(self, handle):
        self._ask(self.desk.cancel_batch, handle.id)


class CancelsNoBatch(BatchingFakeBackend):
    def cancel_batch(self, handle):
        return


class TakesAPartForTheWhole(BatchingFakeBackend):
    def fetch_batch(self, handle, folder):
        try:
            return super().fetch_batch(handle, folder)
        except Unavailable:
            parts = [part.replace(part.with_suffix(".jsonl")) for part in folder.glob("*.part")]
            return BatchFiles(paths=tuple(map(str, parts)))


class FetchesAllAnew(BatchingFakeBackend):
    def fetch_batch(self, handle, folder):
        shutil.rmtree(folder, ignore_errors=True)
        return super().fetch_batch(handle, folder)


class SaysNothingOfGoneFiles(BatchingFakeBackend):
    def fetch_batch(self, handle, folder):
        return dataclasses.replace(super().fetch_batch(handle, folder), gone=())


class BatchesOfThisProcess(BatchingFakeBackend):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mine: set[str] = set()

    def start_batch(self, spec, files, *, key):
        handle = super().start_batch(spec, files, key=key)
        self.mine.add(handle.id)
        return handle

    def poll_batch(self, handle):
        if handle.id not in self.mine:
            raise NotFound("not mine")
        return super().poll_batch(handle)


class BatchHandleIsNotJson(BatchingFakeBackend):
    def _batch_handle(self, one):
        return Handle(kind="batch", id=one["id"], data={"seen": {1}})


class BatchesWithoutSayingSo(BatchingFakeBackend):
    """It takes batches; its table says no."""


def _suite(mutant):
    spec = BATCHING_FAKE_SPEC
    if mutant is BatchesWithoutSayingSo:
        silent = dataclasses.replace(spec.capabilities.batch, ok=False, reason="so it says")
        capabilities = dataclasses.replace(spec.capabilities, batch=silent)
        spec = dataclasses.replace(spec, capabilities=capabilities)

    def provider(self):
        return BatchingFakeAdapter(mutant, spec)

    members = {"provider": pytest.fixture(provider), "__module__": __name__}
    # Only these lines can tell: the others are tried on the other mutants.
    return type(f"Test{mutant.__name__}", (ShapeTests, BatchTests), members)


for _mutant in BatchingFakeBackend.__subclasses__():
    globals()[f"Test{_mutant.__name__}"] = _suite(_mutant)
