"""What ``understudy doctor`` asks of this backend. Costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from understudy.backend import Check
from understudy.errors import AuthError, BackendError, TransientError
from understudy.model import Json
from understudy_openai import wire
from understudy_openai.params import Limits, rule_for

__all__ = ["Asker", "checks"]


class Asker(Protocol):
    """The part of the backend that the checks need."""

    @property
    def limits(self) -> Limits:
        """What the provider takes."""
        ...

    @property
    def client(self) -> Any:
        """The SDK's client."""
        ...

    @property
    def host(self) -> str:
        """Where requests go."""
        ...

    def call(self, what: str, method: Callable[..., Any], /, **kwargs: Any) -> Json:
        """One request."""
        ...


def checks(backend: Asker) -> Iterator[Check]:
    """Endpoint, key, right to list jobs, base models; stops where the next would say the same."""
    try:
        listed = backend.call("list the models", backend.client.models.with_raw_response.list)
    except BackendError as error:
        yield from _refused(backend, error)
        return
    yield Check(name="endpoint", ok=True, detail=f"{backend.host} answers")
    yield Check(name="key", ok=True, detail="accepted")
    try:
        method = backend.client.fine_tuning.jobs.with_raw_response.list
        jobs = wire.rows(backend.call("list the fine-tuning jobs", method, limit=1))
        detail = "may list them" + ("" if jobs else "; there are none yet")
        yield Check(name="fine-tuning jobs", ok=True, detail=detail)
    except BackendError as error:
        fix = "give the key the right to read and write fine-tuning jobs"
        yield Check(name="fine-tuning jobs", ok=False, detail=str(error), fix=fix)
    yield _models(backend, listed)


def _refused(backend: Asker, error: BackendError) -> Iterator[Check]:
    if isinstance(error, TransientError) and error.status is None:
        fix = "check base_url and the network"
        yield Check(name="endpoint", ok=False, detail=str(error), fix=fix)
        return
    if error.status is not None:
        yield Check(name="endpoint", ok=True, detail=f"{backend.host} answers")
    fix = "set a key that is valid" if isinstance(error, AuthError) else "see the message"
    yield Check(name="key", ok=False, detail=str(error), fix=fix)


def _models(backend: Asker, listed: Json) -> Check:
    records = [wire.model_record(row) for row in wire.rows(listed) if wire.text(row.get("id"))]
    able = {}
    for record in records:
        rule = rule_for(record.id, backend.limits.models)
        if rule is not None and rule.methods and not record.id.startswith("ft:"):
            able[record.id] = record.shutdown_date
    sandbox = any("sandbox" in (record.owner or "") for record in records)
    detail = f"{len(able)} base models that can be trained, of {len(records)} models"
    if sandbox:
        detail += "; this is the sandbox, not a provider"
    fields = {"shutdown_dates": {name: able[name] for name in sorted(able)}}
    fix = "" if able else "see the provider's list of models that can be fine-tuned"
    return Check(name="base models", ok=bool(able), detail=detail, fix=fix, fields=fields)
