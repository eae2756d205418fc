"""The pure mapping of ARM: deployments, models, quota, permissions. No I/O, no SDK."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from understudy.errors import InvalidData
from understudy.model import (
    Deployment,
    DeploymentSpec,
    Handle,
    Json,
    Lifecycle,
    RemoteProblem,
    RemoteState,
    RemoteStatus,
)
from understudy_azure.params import base_model
from understudy_azure.wire import day
from understudy_openai import redact
from understudy_openai.wire_values import count, mapping, text, time

__all__ = [
    "ACCOUNT_GONE",
    "DELETE_BY",
    "KEY",
    "OWNER",
    "PROVISIONING",
    "PURPOSE",
    "SKUS",
    "allows",
    "check_name",
    "check_sku",
    "deployment",
    "deployment_body",
    "deployment_handle",
    "deployment_status",
    "is_key",
    "lifecycle",
    "maker",
    "model_parts",
    "quota",
    "rescaled",
    "same_model",
    "served_model",
    "sku_name",
    "tags",
    "trainable",
]

_S = RemoteState
PROVISIONING: Mapping[str, RemoteState] = {
    "accepted": _S.RUNNING,
    "creating": _S.RUNNING,
    "moving": _S.RUNNING,
    "updating": _S.RUNNING,
    "succeeded": _S.SUCCEEDED,
    "failed": _S.FAILED,
    "disabled": _S.FAILED,
    "deleting": _S.CANCELLING,
    "canceled": _S.CANCELLED,
    "cancelled": _S.CANCELLED,
}
SKUS: tuple[str, ...] = (
    "Standard",
    "GlobalStandard",
    "DataZoneStandard",
    "DeveloperTier",
    "ProvisionedManaged",
    "GlobalProvisionedManaged",
    "DataZoneProvisionedManaged",
    "GlobalBatch",
    "DataZoneBatch",
)
KEY, OWNER = "understudy_key", "understudy_owner"
PURPOSE, DELETE_BY = "understudy_purpose", "understudy_delete_by"
ACCOUNT_GONE = frozenset(
    {
        "ParentResourceNotFound",
        "ResourceGroupNotFound",
        "SubscriptionNotFound",
        "InvalidSubscriptionId",
    }
)
"""Codes of a 404 that speak of the account, and so say nothing of its deployment."""
DEVELOPER_LIFE = 24 * 3600.0
"""Seconds after which the service deletes a deployment of the developer tier."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,63}")
_DATED = re.compile(r"(.+?)-(\d{4}-\d{2}-\d{2})")
_TAG = 256


def check_name(name: str) -> None:
    """Raises InvalidData: ARM or the path of a completion would not take that name."""
    if not _NAME.fullmatch(name):
        raise InvalidData(
            f"the deployment name {name[:80]!r} cannot be used: it needs 2 to 64 letters, digits, "
            "'-' and '_', a letter or digit first, and no dots. Choose another name."
        )


def sku_name(value: str) -> str:
    """A known sku in the service's letter case; another one as it is, for newer ones."""
    known = {sku.lower(): sku for sku in SKUS}
    return known.get(value.strip().lower(), value.strip())


def check_sku(sku: str, model: str) -> None:
    """Raises InvalidData: fine-tuned models cannot be deployed for batches."""
    if sku.endswith("Batch") and ".ft-" in model:
        raise InvalidData(
            f"{model} cannot be deployed as {sku}: fine-tuned models cannot batch on Azure. Set "
            "sku to Standard, GlobalStandard, DataZoneStandard or DeveloperTier."
        )


def model_parts(model: str) -> tuple[str, str]:
    """Name and version in ARM: base models end in their version, fine-tunes have version 1."""
    dated = None if ".ft-" in model else _DATED.fullmatch(model)
    return (dated[1], dated[2]) if dated else (model, "1")


def tags(spec: DeploymentSpec, key: str) -> dict[str, str]:
    """What tells a person with an empty store whose deployment this is, and until when."""
    found = {KEY: key, OWNER: spec.owner[:_TAG], PURPOSE: spec.purpose}
    if spec.delete_by is not None:
        until = datetime.fromtimestamp(spec.delete_by, UTC)
        found[DELETE_BY] = until.isoformat(timespec="seconds")
    return found


def deployment_body(
    spec: DeploymentSpec, *, key: str, sku: str, capacity: int, source: str | None
) -> dict[str, Json]:
    """The body of ``PUT deployments/{name}``; ``source`` is the account that trained the model."""
    name, version = model_parts(spec.model)
    model = {"format": "OpenAI", "name": name, "version": version}
    if source is not None:
        model["source"] = source
    return {
        "sku": {"name": sku, "capacity": capacity},
        "tags": tags(spec, key),
        "properties": {"model": model},
    }


_KEPT = ("model", "raiPolicyName", "versionUpgradeOption", "spilloverDeploymentName")
_KEPT_OF_MODEL = ("format", "name", "version", "source", "sourceAccount", "publisher")


def rescaled(there: Json, capacity: int) -> dict[str, Json]:
    """The body that asks for what is there with another capacity, read-only fields left out."""
    body = mapping(there)
    properties = mapping(body.get("properties"))
    kept = {name: properties[name] for name in _KEPT if properties.get(name)}
    model = mapping(kept.get("model"))
    kept["model"] = {name: model[name] for name in _KEPT_OF_MODEL if model.get(name)}
    sku = {"name": mapping(body.get("sku")).get("name"), "capacity": capacity}
    return {"sku": sku, "tags": dict(mapping(body.get("tags"))), "properties": kept}


def served_model(body: Json) -> str:
    """The model of a deployment, by the name that jobs and recipes use."""
    model = mapping(mapping(mapping(body).get("properties")).get("model"))
    name, version = text(model.get("name")) or "", text(model.get("version")) or ""
    return f"{name}-{version}" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", version) else name


def same_model(body: Json, model: str) -> bool:
    """Whether the deployment serves ``model``."""
    return served_model(body).lower() == model.lower()


def is_key(body: Json, key: str) -> bool:
    """Whether the deployment was started under ``key``."""
    return mapping(mapping(body).get("tags")).get(KEY) == key


def deployment_handle(body: Json, *, name: str) -> Handle:
    """What is kept to find the deployment again."""
    body = mapping(body)
    sku, tagged = mapping(body.get("sku")), mapping(body.get("tags"))
    data = {
        "model": served_model(body),
        "sku": text(sku.get("name")),
        "key": text(tagged.get(KEY)),
        "purpose": text(tagged.get(PURPOSE)),
    }
    kept = {field: value for field, value in data.items() if value}
    return Handle(kind="deployment", id=name, data=kept)


def deployment_status(body: Json, *, name: str, secrets: Iterable[str] = ()) -> RemoteStatus:
    """One look at a deployment, judged by ``provisioningState`` alone.

    The model to ask is the deployment's name, once it serves.
    """
    body = mapping(body)
    properties, sku = mapping(body.get("properties")), mapping(body.get("sku"))
    raw = redact(properties.get("provisioningState"), secrets, limit=40)
    state = PROVISIONING.get(raw.lower(), _S.UNKNOWN)
    trouble = _problem(body, raw, secrets) if state is _S.FAILED else None
    fields: dict[str, Json] = {
        "status": raw,
        "model": served_model(body) or None,
        "sku": text(sku.get("name")),
        "capacity": count(sku.get("capacity")),
        "error_code": trouble.code if trouble else None,
        "error_message": trouble.message if trouble else None,
    }
    return RemoteStatus(
        state=state,
        raw=raw,
        problem=trouble,
        model=name if state is _S.SUCCEEDED else None,
        fields={field: value for field, value in fields.items() if value is not None},
    )


def _problem(body: Mapping[str, Json], raw: str, secrets: Iterable[str]) -> RemoteProblem:
    # A failed deployment tells why in some replies only; the activity log always does.
    places = (body, mapping(body.get("properties")))
    error = next((found for place in places if (found := mapping(place.get("error")))), {})
    code = redact(error.get("code"), secrets, limit=80) or None
    said = redact(error.get("message"), secrets)
    message = said or f"provisioningState is {raw}; the resource's activity log says why"
    return RemoteProblem(message=message, code=code)


def deployment(body: Json, secrets: Iterable[str] = ()) -> Deployment:
    """A row of the list. Raises ValueError: it has no name."""
    body = mapping(body)
    name = text(body.get("name"))
    if name is None:
        message = "a deployment without a name"
        raise ValueError(message)
    sku, tagged = mapping(body.get("sku")), mapping(body.get("tags"))
    status = deployment_status(body, name=name, secrets=secrets)
    made = time(mapping(body.get("systemData")).get("createdAt"))
    kind = sku_name(text(sku.get("name")) or "")
    ends = made + DEVELOPER_LIFE if made is not None and kind == "DeveloperTier" else None
    return Deployment(
        handle=deployment_handle(body, name=name),
        name=name,
        model=served_model(body),
        state=status.state,
        raw=status.raw,
        sku=kind,
        capacity=count(sku.get("capacity")) or 0,
        owner=text(tagged.get(OWNER)),
        key=text(tagged.get(KEY)),
        purpose=text(tagged.get(PURPOSE)),
        delete_by=time(tagged.get(DELETE_BY)),
        created_at=made,
        deleted_at=ends,
    )


# -- models, quota, permissions ----------------------------------------------------------------


def _listed(models: Iterable[Json]) -> Iterable[Mapping[str, Json]]:
    """Accounts list models bare; locations list them under ``model``."""
    for row in models:
        inner = mapping(mapping(row).get("model"))
        yield inner or mapping(row)


def _name_of(model: Mapping[str, Json]) -> str:
    return served_model({"properties": {"model": model}})


def lifecycle(models: Iterable[Json], model: str, *, account: str) -> Lifecycle | None:
    """Dates of ``model``, or of the base that it is a fine-tune of; None where ARM has neither."""
    base = base_model(model)
    for row in _listed(models):
        if base in {_name_of(row), text(row.get("name"))}:
            dates = mapping(row.get("deprecation"))
            ends, trains = day(dates.get("inference")), day(dates.get("fineTune"))
            days = [one for one in (trains, ends) if one is not None]
            source = f"deprecation in ARM's models of account {account}"
            status = text(row.get("lifecycleStatus"))
            return Lifecycle(
                model=model,
                inference_until=ends,
                training_until=min(days, default=None),
                source=f"{source}; lifecycleStatus {status}" if status else source,
            )
    return None


def maker(models: Iterable[Json], model: str) -> str | None:
    """Who put the base of ``model`` there, by its ``systemData``."""
    for row in _listed(models):
        if base_model(model) == _name_of(row):
            return text(mapping(row.get("systemData")).get("createdBy"))
    return None


def trainable(models: Iterable[Json]) -> dict[str, str | None]:
    """Base models that the account's region fine-tunes, and until which day."""
    able: dict[str, str | None] = {}
    for row in _listed(models):
        said = str(mapping(row.get("capabilities")).get("fineTune")).lower() == "true"
        if said or mapping(row.get("finetuneCapabilities")):
            able[_name_of(row)] = day(mapping(row.get("deprecation")).get("fineTune"))
    return able


def quota(usages: Iterable[Json], sku: str) -> dict[str, tuple[float, float]]:
    """Used and limit by quota name, of those that belong to ``sku``."""
    found: dict[str, tuple[float, float]] = {}
    for row in map(mapping, usages):
        name = text(mapping(row.get("name")).get("value")) or ""
        numbers = row.get("currentValue"), row.get("limit")
        if f".{sku.lower()}." in f".{name.lower()}." and all(
            isinstance(number, int | float) for number in numbers
        ):
            found[name] = (float(numbers[0] or 0), float(numbers[1] or 0))
    return found


def allows(permissions: Iterable[Json], wanted: str) -> bool:
    """Whether one of the caller's role assignments allows the action ``wanted``."""

    def listed(row: Mapping[str, Json], field: str) -> bool:
        patterns = row.get(field) if isinstance(row.get(field), list) else []
        return any(fnmatch.fnmatch(wanted.lower(), str(one).lower()) for one in patterns or [])

    each = [mapping(row) for row in permissions]
    return any(listed(row, "actions") and not listed(row, "notActions") for row in each)
