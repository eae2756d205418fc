"""A provider in memory whose models answer only through deployments, billed by the hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.testing.fake_provider import FakeHTTPError, FakeProvider

__all__ = ["DEPLOY_SCRIPT", "DeployingFakeProvider"]

DEPLOY_SCRIPT: tuple[tuple[float, str], ...] = (
    (0, "Accepted"),
    (5, "Creating"),
    (20, "Succeeded"),
)
"""Seconds after the start from which a deployment says a status."""

_FREE = "developer"


@dataclass(kw_only=True)
class _Deployment:
    name: str
    body: dict[str, Any]
    created_at: float
    script: Sequence[tuple[float, str]]
    stopped_at: float | None = None


@dataclass(kw_only=True)
class DeployingFakeProvider(FakeProvider):
    """A ``FakeProvider`` that is asked through deployments, and by their names.

    Args:
        deploy_script: the life of every deployment that does not fail.
        stop_seconds: how long taking one down takes.
        skus: what it deploys with, and what each costs an hour in nano-dollars.
        room: how many deployments fit.
        may_deploy: whether the account has the role for it.
        fails_after: seconds after which new deployments fail; None where they do not.

    ``hosting_nanos`` is its bill; ``most`` how many stood at once at most.
    """

    deploy_script: Sequence[tuple[float, str]] = DEPLOY_SCRIPT
    stop_seconds: float = 10.0
    skus: Mapping[str, int] = field(
        default_factory=lambda: {_FREE: 0, "standard": 1_700_000_000, "global": 1_700_000_000}
    )
    room: int = 10
    may_deploy: bool = True
    fails_after: float | None = None
    deployments: dict[str, _Deployment] = field(default_factory=dict, repr=False)
    ended: list[tuple[_Deployment, float]] = field(default_factory=list, repr=False)
    most: int = 0

    # What tests provoke and look at.

    def standing(self) -> list[str]:
        """Names of the deployments that are there, those that are going down included."""
        with self.lock:
            self._sweep()
            return list(self.deployments)

    def vanish(self, name: str) -> None:
        """Delete a deployment as the service itself, or somebody at its portal, does."""
        with self.lock:
            self._end(self.deployments[name], self.clock.now())

    def break_down(self, name: str) -> None:
        """Let a deployment say that it failed."""
        with self.lock:
            self.deployments[name].script = ((0, "Failed"),)

    def deploy_base(self, model: str) -> str:
        """A deployment of a base model that was there all along; its name."""
        name = f"base-{model}"
        body = {"model": model, "sku": _FREE, "capacity": 1, "tags": {}}
        with self.lock:
            self.deployments[name] = _Deployment(
                name=name, body=body, created_at=self.clock.now(), script=((0, "Succeeded"),)
            )
        return name

    @property
    def hosting_nanos(self) -> int:
        """The hours of all deployments so far, in nano-dollars."""
        with self.lock:
            self._sweep()
            now = self.clock.now()
            spans = [(one, now) for one in self.deployments.values()] + self.ended
            return sum(
                round(self.skus[one.body["sku"]] * (end - one.created_at) / 3600)
                for one, end in spans
            )

    # The wire.

    def put_deployment(self, api_key: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT /deployments/{name}: makes it, or gives the same one another sku or capacity."""
        with self.lock:
            self.paid_requests += 1
        with self._request(api_key, create=True):
            self._sweep()
            self._check(name, body)
            if name not in self.deployments:
                self.deployments[name] = _Deployment(
                    name=name, body=dict(body), created_at=self.clock.now(), script=self._life()
                )
                self.most = max(self.most, len(self.deployments))
            return self._shown(self.deployments[name])

    def _check(self, name: str, body: Mapping[str, Any]) -> None:
        if not self.may_deploy:
            raise FakeHTTPError(403, "this account may not write deployments")
        if body["sku"] not in self.skus:
            raise FakeHTTPError(400, f"sku {body['sku']} is not supported")
        present = self.deployments.get(name)
        if present is not None and present.body["model"] != body["model"]:
            raise FakeHTTPError(409, f"{name} is a deployment of {present.body['model']}")
        if present is None and len(self.deployments) >= self.room:
            raise FakeHTTPError(422, "no capacity is left in this region")

    def _life(self) -> Sequence[tuple[float, str]]:
        if self.fails_after is None:
            return self.deploy_script
        return ((0, "Accepted"), (self.fails_after, "Failed"))

    def deployment(self, api_key: str, name: str) -> dict[str, Any]:
        """GET /deployments/{name}."""
        with self._request(api_key):
            self._sweep()
            if name not in self.deployments:
                raise FakeHTTPError(404, f"{name} does not exist")
            return self._shown(self.deployments[name])

    def list_deployments(self, api_key: str) -> list[dict[str, Any]]:
        """GET /deployments."""
        with self._request(api_key):
            self._sweep()
            return [self._shown(one) for one in self.deployments.values()]

    def patch_deployment(self, api_key: str, name: str, capacity: int) -> dict[str, Any]:
        """PATCH /deployments/{name}."""
        with self._request(api_key):
            self._sweep()
            if name not in self.deployments:
                raise FakeHTTPError(404, f"{name} does not exist")
            self.deployments[name].body["capacity"] = capacity
            return self._shown(self.deployments[name])

    def delete_deployment(self, api_key: str, name: str) -> None:
        """DELETE /deployments/{name}: it is gone after ``stop_seconds``."""
        with self._request(api_key):
            self._sweep()
            if name not in self.deployments:
                raise FakeHTTPError(404, f"{name} does not exist")
            one = self.deployments[name]
            one.stopped_at = self.clock.now() if one.stopped_at is None else one.stopped_at

    def chat(self, api_key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /chat: the name of a deployment is asked; models themselves are not there."""
        with self.lock:
            self._sweep()
            one = self.deployments.get(body["model"])
            up = one is not None and self._deploy_status(one) == "Succeeded"
        if one is None or not up:
            with self._request(api_key):
                raise FakeHTTPError(404, f"no deployment {body['model']} answers")
        return super().chat(api_key, {**body, "model": one.body["model"]})

    def _sweep(self) -> None:
        for one in list(self.deployments.values()):
            end = None if one.stopped_at is None else one.stopped_at + self.stop_seconds
            if end is not None and self.clock.now() >= end:
                self._end(one, end)

    def _end(self, one: _Deployment, at: float) -> None:
        del self.deployments[one.name]
        self.ended.append((one, at))

    def _deploy_status(self, one: _Deployment) -> str:
        if one.stopped_at is not None:
            return "Deleting"
        age = self.clock.now() - one.created_at
        return [raw for after, raw in one.script if after <= age][-1]

    def _shown(self, one: _Deployment) -> dict[str, Any]:
        status = self._deploy_status(one)
        return {
            **one.body,
            "name": one.name,
            "status": status,
            "created_at": one.created_at,
            "error": "the region ran out of machines" if status == "Failed" else None,
        }
