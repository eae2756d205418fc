# mypy: ignore-errors

"""Deploying backends that break one line of the contract each; see mutants.py."""

from __future__ import annotations

import dataclasses
import time

import pytest

from understudy.errors import BackendError, NotFound, Unavailable
from understudy.model import Absent, Found, Handle, RemoteState
from understudy.testing import BackendSuite, DeployingFakeAdapter, DeployingFakeBackend
from understudy.testing.fake_deploying import DEPLOYING_FAKE_SPEC
from understudy.testing.fake_provider import FakeConnectionError, FakeHTTPError


class WaitsUntilItServes(DeployingFakeBackend):
    def start_deployment(self, spec, *, key):
        handle = super().start_deployment(spec, key=key)
        time.sleep(0.01)
        return handle


class PutsAgainOnTrouble(DeployingFakeBackend):
    def _put(self, name, body):
        try:
            return super()._put(name, body)
        except FakeConnectionError:
            return super()._put(name, body)
        except FakeHTTPError as error:
            if error.status < 500:
                raise
            return super()._put(name, body)


class LostDeploymentIsUnavailable(DeployingFakeBackend):
    def _refusal(self, error, key):
        known = super()._refusal(error, key)
        return Unavailable("try again") if type(known).__name__ == "OutcomeUnknown" else known


class FindsNoDeployment(DeployingFakeBackend):
    def find_deployment(self, spec, *, key):
        return Absent()


class FindsByNameAlone(DeployingFakeBackend):
    def find_deployment(self, spec, *, key):
        for one in self._ask(self.house.list_deployments):
            if one["name"] == spec.name:
                return Found(handle=self._deployment_handle(one))
        return Absent()


class NamesEachDeploymentAnew(DeployingFakeBackend):
    def _put(self, name, body):
        return super()._put(f"{name}-{len(self.house.deployments)}", body)


class DeploysAgainOn429(DeployingFakeBackend):
    def _put(self, name, body):
        try:
            return super()._put(name, body)
        except FakeHTTPError as error:
            if error.status != 429:
                raise
            return super()._put(name, body)


class TakesOverNames(DeployingFakeBackend):
    def _put(self, name, body):
        present = self.house.deployments.get(name)
        if present is not None:
            present.body["model"] = body["model"]
        return super()._put(name, body)


class GuessesTheSku(DeployingFakeBackend):
    def _put(self, name, body):
        sku = body["sku"] if body["sku"] in self.house.skus else "standard"
        return super()._put(name, {**body, "sku": sku})


class SleepsInDeploymentPoll(DeployingFakeBackend):
    def poll_deployment(self, handle):
        time.sleep(0.01)
        return super().poll_deployment(handle)


class ServesAtOnce(DeployingFakeBackend):
    def _deploy_state(self, raw):
        return RemoteState.SUCCEEDED if raw == "Accepted" else super()._deploy_state(raw)


class TellsNoName(DeployingFakeBackend):
    def poll_deployment(self, handle):
        return dataclasses.replace(super().poll_deployment(handle), model=None)


class DeploymentFailsWithoutAWord(DeployingFakeBackend):
    def poll_deployment(self, handle):
        return dataclasses.replace(super().poll_deployment(handle), problem=None)


class StopOfTheGoneRaises(DeployingFakeBackend):
    def stop_deployment(self, handle):
        self._ask(self.house.delete_deployment, handle.id)


class GoneIsNotFound(DeployingFakeBackend):
    def poll_deployment(self, handle):
        status = super().poll_deployment(handle)
        if status.state is RemoteState.CANCELLED:
            raise NotFound("no such deployment")
        return status


class StopsNothing(DeployingFakeBackend):
    def stop_deployment(self, handle):
        return


class ForgetsTheOwner(DeployingFakeBackend):
    def list_deployments(self):
        for one in super().list_deployments():
            yield dataclasses.replace(one, owner=None)


class ForgetsTheEnd(DeployingFakeBackend):
    def _put(self, name, body):
        return super()._put(name, {**body, "tags": {**body["tags"], "delete_by": None}})


class ScalesNothing(DeployingFakeBackend):
    def scale_deployment(self, handle, capacity):
        return


class DeploymentsOfThisProcess(DeployingFakeBackend):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mine: set[str] = set()

    def start_deployment(self, spec, *, key):
        handle = super().start_deployment(spec, key=key)
        self.mine.add(handle.id)
        return handle

    def poll_deployment(self, handle):
        if handle.id not in self.mine:
            raise BackendError("not mine")
        return super().poll_deployment(handle)


class DeploymentHandleIsNotJson(DeployingFakeBackend):
    def _deployment_handle(self, one):
        return Handle(kind="deployment", id=one["name"], data={"seen": {1}})


class DeploysWithoutSayingSo(DeployingFakeBackend):
    """It deploys; its table says no."""


def _suite(mutant: type[DeployingFakeBackend]) -> type[BackendSuite]:
    spec = DEPLOYING_FAKE_SPEC
    if mutant is DeploysWithoutSayingSo:
        silent = dataclasses.replace(spec.capabilities.deploy, ok=False, reason="so it says")
        capabilities = dataclasses.replace(spec.capabilities, deploy=silent)
        spec = dataclasses.replace(spec, capabilities=capabilities)

    def provider(self):
        return DeployingFakeAdapter(mutant, spec)

    members = {"provider": pytest.fixture(provider), "__module__": __name__}
    return type(f"Test{mutant.__name__}", (BackendSuite,), members)


for _mutant in DeployingFakeBackend.__subclasses__():
    globals()[f"Test{_mutant.__name__}"] = _suite(_mutant)
