# mypy: ignore-errors

"""Backends that break one line of the contract each. ``test_mutants.py`` runs the suite on them.

Not collected by itself: its failures are what is wanted.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from understudy.backend import Params, Support
from understudy.errors import AuthError, BackendError, Unavailable
from understudy.model import Absent, Found, Handle, ModelRef, RemoteState
from understudy.testing import BackendSuite, FakeAdapter, FakeBackend
from understudy.testing.fake_backend import FAKE_SPEC, FakeSettings
from understudy.testing.fake_provider import FakeConnectionError, FakeHTTPError


class ResendsOn500(FakeBackend):
    def _send(self, body):
        try:
            return super()._send(body)
        except FakeHTTPError as error:
            if error.status < 500:
                raise
            return super()._send(body)


class ResendsOnCut(FakeBackend):
    def _send(self, body):
        try:
            return super()._send(body)
        except FakeConnectionError:
            return super()._send(body)


class LostReplyIsUnavailable(FakeBackend):
    def create(self, spec, files, *, key):
        try:
            return super().create(spec, files, key=key)
        except BackendError as error:
            if isinstance(error, AuthError):
                raise
            raise Unavailable("try again") from None


class UnknownIsFailed(FakeBackend):
    def _state(self, raw):
        state = super()._state(raw)
        return RemoteState.FAILED if state is RemoteState.UNKNOWN else state


class UnknownRaises(FakeBackend):
    def _state(self, raw):
        return RemoteState(raw)


class CancelledIsFailed(FakeBackend):
    def _state(self, raw):
        return RemoteState.FAILED if raw == "cancelled" else super()._state(raw)


class SleepsInPoll(FakeBackend):
    def poll(self, handle):
        time.sleep(0.01)
        return super().poll(handle)


class WaitsInPoll(FakeBackend):
    def poll(self, handle):
        threading.Event().wait(0.01)
        return super().poll(handle)


class PollsTwice(FakeBackend):
    def poll(self, handle):
        super().poll(handle)
        return super().poll(handle)


class WaitsOutRateLimits(FakeBackend):
    def poll(self, handle):
        try:
            return super().poll(handle)
        except BackendError:
            time.sleep(0.01)
            return super().poll(handle)


class SecretInRepr(FakeBackend):
    def __repr__(self):
        return f"SecretInRepr(key={self._key()})"


class SecretInError(FakeBackend):
    def _error(self, error):
        known = super()._error(error)
        return type(known)(str(error))


class SecretInCause(FakeBackend):
    def _ask(self, call, *args):
        try:
            return call(self._key(), *args)
        except FakeHTTPError as error:
            raise self._error(error) from error


class SecretInLog(FakeBackend):
    def poll(self, handle):
        logging.getLogger("mutant").debug("GET %s with %s", handle.id, self._key())
        return super().poll(handle)


class RowsInHandle(FakeBackend):
    def upload(self, spec, *, key):
        handle = super().upload(spec, key=key)
        first = Path(spec.training.path).read_text(encoding="utf-8").partition("\n")[0]
        return dataclasses.replace(handle, data={"first": first})


class HandleIsNotJson(FakeBackend):
    def _handle(self, job):
        return Handle(kind="job", id=job["id"], data={"seen": {1, 2}})


class HandleNeedsThisProcess(FakeBackend):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mine: set[str] = set()

    def create(self, spec, files, *, key):
        handle = super().create(spec, files, key=key)
        self.mine.add(handle.id)
        return handle

    def poll(self, handle):
        if handle.id not in self.mine:
            raise Unavailable("not mine")
        return super().poll(handle)


class FindsNothing(FakeBackend):
    def find(self, key, files):
        return Absent()


class FindsAnything(FakeBackend):
    def find(self, key, files):
        jobs = self._ask(self.provider.list_jobs)
        return Found(handle=self._handle(jobs[0])) if jobs else Absent()


class HidesSurplus(FakeBackend):
    def find(self, key, files):
        found = super().find(key, files)
        return dataclasses.replace(found, surplus=()) if isinstance(found, Found) else found


class CreatesTwo(FakeBackend):
    def _send(self, body):
        super()._send(body)
        return super()._send(body)


class KeyIsNotSent(FakeBackend):
    def _send(self, body):
        return super()._send({**body, "metadata": {"key": "always-the-same"}})


class UploadsAgain(FakeBackend):
    def upload(self, spec, *, key):
        file = self._ask(self.provider.upload, f"{key}.jsonl", b"{}")
        return Handle(kind="upload", id=file["id"])


class OneFileForAllKeys(FakeBackend):
    def upload(self, spec, *, key):
        return super().upload(spec, key="shared")


class ValidateAsksTheProvider(FakeBackend):
    def validate(self, spec):
        self._ask(self.provider.model, spec.base_model)
        return super().validate(spec)


class ConstructionAsksTheProvider(FakeBackend):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._ask(self.provider.list_files)


class OpenParams(FakeBackend):
    class Params(Params, extra="ignore"):
        n_epochs: int = 3


class OpenSettings(FakeBackend):
    class Settings(FakeSettings, extra="ignore"):
        pass


class CancelOfEndedRaises(FakeBackend):
    def _act(self, handle, action):
        self._ask(self.provider.act, handle.id, action)


class CancelsTheEnded(FakeBackend):
    def _act(self, handle, action):
        self.provider.force(handle.id, "cancelled" if action == "cancel" else "running")


class MissingIsFailed(FakeBackend):
    def poll(self, handle):
        try:
            return super().poll(handle)
        except BackendError as error:
            if error.status != 404:
                raise
            job = {"status": "failed", "error": None, "model": None, "trained_tokens": None}
            return self._status(job)


class PollManyAsksForEach(FakeBackend):
    def poll_many(self, handles):
        return {handle.id: self.poll(handle) for handle in handles}


class EventsRepeat(FakeBackend):
    def events(self, handle, *, after):
        return super().events(handle, after=None)


class ModelBeforeItIsThere(FakeBackend):
    def model(self, handle):
        job = self._ask(self.provider.job, handle.id)
        name = job["model"] or "ft:pending"
        return ModelRef(backend=self.name, id=name, base_model=job["base_model"])


class PaysForUpload(FakeBackend):
    def upload(self, spec, *, key):
        self.provider.paid_requests += 1
        return super().upload(spec, key=key)


class ResendsOn429(FakeBackend):
    def _send(self, body):
        try:
            return super()._send(body)
        except FakeHTTPError as error:
            if error.status != 429:
                raise
            return super()._send(body)


class FailsWithoutAWord(FakeBackend):
    def _status(self, job):
        return dataclasses.replace(super()._status(job), problem=None)


class CheckpointsBackwards(FakeBackend):
    def checkpoints(self, handle):
        return super().checkpoints(handle)[::-1]


class EstimateIsUnbounded(FakeBackend):
    def estimate(self, spec):
        return dataclasses.replace(super().estimate(spec), at_most=0)


class LifecycleAsksTwice(FakeBackend):
    def lifecycle(self, model):
        super().lifecycle(model)
        return super().lifecycle(model)


class ListsNothing(FakeBackend):
    def jobs(self):
        return iter(())


class CompletesTwice(FakeBackend):
    def complete(self, request, *, timeout):
        super().complete(request, timeout=timeout)
        return super().complete(request, timeout=timeout)


class RetriesCompletion(FakeBackend):
    def complete(self, request, *, timeout):
        try:
            return super().complete(request, timeout=timeout)
        except BackendError:
            return super().complete(request, timeout=timeout)


class TargetIsElsewhere(FakeBackend):
    """Its spec points at another class."""


class ForgetsPause(FakeBackend):
    pause = None


class SaysItCannotPause(FakeBackend):
    """It can: what the table says is not what the class does."""


class GivesNoReason(FakeBackend):
    """Its table says no to something without a word."""


LIES = {
    SaysItCannotPause: {"pause": Support.no("so it says")},
    GivesNoReason: {"deploy": Support.no("")},
}


def _suite(mutant: type[FakeBackend]) -> type[BackendSuite]:
    capabilities = dataclasses.replace(FAKE_SPEC.capabilities, **LIES.get(mutant, {}))
    spec = dataclasses.replace(FAKE_SPEC, capabilities=capabilities)
    if mutant is TargetIsElsewhere:
        spec = dataclasses.replace(spec, target="json:JSONDecoder")

    def provider(self):
        return FakeAdapter(mutant, spec)

    members = {"provider": pytest.fixture(provider), "__module__": __name__}
    return type(f"Test{mutant.__name__}", (BackendSuite,), members)


for _mutant in FakeBackend.__subclasses__():
    if _mutant.__module__ == __name__:  # not the fake that deploys, which keeps the contract
        globals()[f"Test{_mutant.__name__}"] = _suite(_mutant)
