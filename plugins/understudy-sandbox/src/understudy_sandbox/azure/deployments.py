"""Deployments of the sandbox's Azure: made, hosted, billed and taken down by the clock."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from understudy_sandbox.azure.offers import BATCH, SKUS, join_base
from understudy_sandbox.billing import Hosting
from understudy_sandbox.errors import ApiError
from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from understudy_sandbox.azure.settings import AzureSettings
    from understudy_sandbox.billing import Bill
    from understudy_sandbox.catalog import Catalog, Resolved
    from understudy_sandbox.clock import Clock
    from understudy_sandbox.state import Doc, State

HOUR = 3600.0  # what calls are counted by
_ACCEPTED = 0.2  # share of the making during which it is only Accepted


def deployment_id(account: str, name: str) -> str:
    """The key of a deployment in the state; names differ by more than letter case."""
    return f"{account}/{name}".lower()


def no_deployment() -> ApiError:
    """Azure's answer for a deployment that is not there, or not yet."""
    return ApiError(
        404,
        "The API deployment for this resource does not exist. If you created the deployment "
        "within the last 5 minutes, please wait a moment and try again.",
        code="DeploymentNotFound",
    )


def state_of(doc: Doc, now: float) -> str:
    """The ``provisioningState``."""
    if doc["deleting_at"] is not None:
        return "Deleting"
    if doc["fails_at"] is not None and now >= doc["fails_at"]:
        return "Failed"
    if now >= doc["ready_at"]:
        return "Succeeded"
    done = (now - doc["created"]) / (doc["ready_at"] - doc["created"])
    return "Accepted" if done < _ACCEPTED else "Creating"


class Deployments:
    """All deployments of all resources. Every phase is derived from stored times."""

    def __init__(
        self,
        *,
        state: State,
        clock: Clock,
        bill: Bill,
        catalog: Catalog,
        settings: AzureSettings,
    ) -> None:
        self._docs = state.docs["deployment"]
        self._operations = state.docs["operation"]
        self._state = state
        self._clock = clock
        self._bill = bill
        self._catalog = catalog
        self._settings = settings
        self._lock = threading.RLock()

    def model_of(self, model: Doc) -> Resolved:
        """The model that ARM's ``{name, version}`` names.

        Raises:
            ApiError: there is none, or it is retired.
        """
        try:
            return self._catalog.resolve(model["name"])
        except ApiError:
            return self._catalog.resolve(join_base(model["name"], model.get("version")))

    def find(self, account: str, name: str) -> Doc | None:
        """A deployment by resource and name, brought to where it should be now."""
        self.settle()
        return self._docs.get(deployment_id(account, name))

    def of(self, account: str) -> list[Doc]:
        """The deployments of a resource, the oldest first."""
        self.settle()
        return [d for d in self._docs if d["account"] == account]

    def all(self) -> list[Doc]:
        """Every deployment."""
        self.settle()
        return list(self._docs)

    def made(self) -> list[str]:
        """Names of all that were ever made, once for each time."""
        ids = {(o["deployment"], o["created"]) for o in self._operations if o["what"] == "put"}
        return [name.partition("/")[2] for name, _ in sorted(ids)]

    def resolve(self, account: str, name: str, *, batch: bool = False) -> Resolved:
        """The model behind a deployment that answers; noted as used.

        Raises:
            ApiError: 404, there is no such deployment or it is not ready; 400, it is not one for
                batches, or one for batches alone.
        """
        doc, now = self.find(account, name), self._clock.now()
        if doc is None or state_of(doc, now) != "Succeeded":
            raise no_deployment()
        if (doc["sku"] in BATCH) != batch:
            message = (
                f"The deployment '{name}' with the sku {doc['sku']} takes no batches: deploy a "
                "base model as GlobalBatch or DataZoneBatch. Fine-tuned models cannot batch."
                if batch
                else f"The deployment '{name}' with the sku {doc['sku']} answers batches only."
            )
            raise ApiError(400, message, code="OperationNotSupported")
        with self._lock:
            hour = str(int(now // HOUR))
            doc.update(used_at=now, calls=doc["calls"] | {hour: doc["calls"].get(hour, 0) + 1})
            self._docs.put(doc)
        found = self.model_of(doc["model"])
        return replace(found, tier=SKUS[doc["sku"]])

    def put(self, doc: Doc) -> Doc:
        """Take in a new deployment, and the operation that makes it."""
        with self._lock:
            return self._docs.put(doc)

    def rescale(self, doc: Doc, *, sku: str, capacity: int, tags: Doc) -> Doc:
        """Change sku, capacity and tags; what was hosted under the old sku is billed now."""
        with self._lock:
            now = self._clock.now()
            if sku != doc["sku"] and state_of(doc, now) == "Succeeded":
                self._close(doc, now)
                doc["hosted_from"] = now
            doc.update(sku=sku, capacity=capacity, tags=tags, modified=now)
            return self._docs.put(doc)

    def delete(self, doc: Doc) -> None:
        """Begin to delete; hosting ends here."""
        with self._lock, self._state.writing():
            if doc["deleting_at"] is None:
                now = self._clock.now()
                self._close(doc, now)
                doc["deleting_at"] = now
                self._docs.put(doc)

    def operation(self, doc: Doc, what: str) -> str:
        """A new long-running operation on a deployment: its id."""
        made = {"id": new_id("op-", 32).lower(), "deployment": doc["id"], "what": what}
        made["created"] = doc["created"]
        return str(self._operations.put(made)["id"])

    def progress(self, name: str) -> Doc | None:
        """``{status, error}`` of an operation, or None where there is none of that name."""
        self.settle()
        operation = self._operations.get(name)
        if operation is None:
            return None
        doc = self._docs.get(operation["deployment"])
        if doc is None or doc["created"] != operation["created"]:
            return {"status": "Succeeded" if operation["what"] == "delete" else "Canceled"}
        state = state_of(doc, self._clock.now())
        made: dict[str, Any] = {"status": state}
        if state == "Failed":
            made["error"] = doc["failure"]
        return made

    def used(self, region: str, sku: str, base: str, *, tuned: bool) -> int:
        """Capacity in use of one quota."""
        return sum(
            d["capacity"]
            for d in self._docs
            if (d["region"], d["sku"], d["base"], d["tuned"]) == (region, sku, base, tuned)
        )

    def force(self, key: str, *, fails_after: float, failure: Doc) -> None:
        """Let a deployment fail some sandbox seconds after its creation."""
        doc = self._docs.get(key)
        if doc is not None:
            with self._lock:
                doc.update(fails_at=doc["created"] + fails_after, failure=failure)
                self._docs.put(doc)

    def hide(self, key: str, seconds: float) -> None:
        """Keep a deployment out of lists for some sandbox seconds."""
        doc = self._docs.get(key)
        if doc is not None:
            with self._lock:
                doc["visible_at"] = self._clock.now() + seconds
                self._docs.put(doc)

    def hosted(self) -> list[Hosting]:
        """What is being hosted now and paid by the hour."""
        self.settle()
        now = self._clock.now()
        return [lease for d in self._docs if (lease := _lease(d, now)) is not None]

    def settle(self) -> None:
        """What time alone brings about: deletions done, developer and idle deployments gone."""
        now = self._clock.now()
        with self._lock, self._state.writing():
            for doc in self._docs:
                gone = self._gone_at(doc)
                if gone is None or now < gone:
                    continue
                if doc["deleting_at"] is None:
                    self._close(doc, gone)
                self._docs.delete(doc["id"])

    def _gone_at(self, doc: Doc) -> float | None:
        if doc["deleting_at"] is not None:
            return float(doc["deleting_at"] + self._settings.delete_seconds)
        if not doc["tuned"] or doc["fails_at"] is not None:
            return None
        if doc["sku"] == "DeveloperTier":
            return float(doc["ready_at"] + self._settings.developer_seconds)
        return float(max(doc["ready_at"], doc["used_at"] or 0.0) + self._settings.idle_seconds)

    def _close(self, doc: Doc, until: float) -> None:
        lease = _lease(doc, until)
        if lease is not None:
            self._bill.hosting(lease)


def _lease(doc: Doc, now: float) -> Hosting | None:
    until = now if doc["fails_at"] is None else min(now, doc["fails_at"])
    if not doc["tuned"] or doc["deleting_at"] is not None or until <= doc["hosted_from"]:
        return None
    return Hosting(
        ref=doc["id"],
        model=doc["model"]["name"],
        base=doc["base"],
        tier=SKUS[doc["sku"]],
        since=doc["hosted_from"],
        until=until,
    )


def new_deployment(*, account: str, name: str, created: float, ready: float, **fields: Any) -> Doc:
    """A deployment's document, being made."""
    return {
        "id": deployment_id(account, name),
        "account": account,
        "name": name,
        "created": created,
        "modified": created,
        "ready_at": ready,
        "hosted_from": ready,
        "fails_at": None,
        "failure": None,
        "deleting_at": None,
        "used_at": None,
        "calls": {},
        "visible_at": 0,
        **fields,
    }
