"""What ``understudy doctor`` asks of Azure, in the order of dependence. Costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from understudy.backend import Check, Clock
from understudy.errors import BackendError, NotFound, TransientError
from understudy.model import Json
from understudy_azure import wire_arm
from understudy_azure.arm import Arm
from understudy_azure.auth import Tokens
from understudy_azure.plugin import DEFAULT_SKUS
from understudy_azure.settings import AzureSettings
from understudy_azure.wire_errors import ARM_ROLE, DATA_ROLE
from understudy_openai import Asker
from understudy_openai.wire_values import mapping, rows, text

__all__ = ["AzureAsker", "checks"]

_WRITE = "Microsoft.CognitiveServices/accounts/deployments/write"


class AzureAsker(Asker, Protocol):
    """The part of the backend that the checks need."""

    settings: AzureSettings
    arm: Arm
    tokens: Tokens
    clock: Clock

    def models(self) -> list[Json]:
        """The models of the account as ARM lists them."""
        ...


def checks(backend: Any) -> Iterator[Check]:
    """Data plane first, then ARM; each part stops where the next line would say the same."""
    asker: AzureAsker = backend
    yield from _data_plane(asker)
    if not asker.arm.configured:
        yield Check(
            name="ARM account",
            ok=True,
            detail="not configured: models can be trained, but not deployed",
            fix="set subscription_id and resource_group to deploy",
        )
        return
    yield from _arm(asker)


def _look(name: str, fix: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except BackendError as error:
        return Check(name=name, ok=False, detail=str(error), fix=fix)


# -- the data plane ----------------------------------------------------------------------------


def _data_plane(asker: AzureAsker) -> Iterator[Check]:
    settings = asker.settings
    who = "key" if settings.by_key else "token"
    if not settings.by_key:
        try:
            asker.tokens.for_data()
        except BackendError as error:
            fix = "see the message: credential, tenant_id, client_id"
            yield Check(name=who, ok=False, detail=str(error), fix=fix)
            return
    method = asker.client.fine_tuning.jobs.with_raw_response.list
    try:
        listed = rows(asker.call("list the fine-tuning jobs", method, limit=1))
    except BackendError as error:
        yield from _refused(asker, who, error)
        return
    yield Check(name="endpoint", ok=True, detail=f"{asker.host} answers")
    yield Check(name=who, ok=True, detail="accepted")
    version = "v1" if settings.surface == "v1" else f"api-version {settings.api_version}"
    yield Check(name="API version", ok=True, detail=f"{version} is served")
    detail = "may list them" + ("" if listed else "; there are none yet")
    yield Check(name="fine-tuning jobs", ok=True, detail=detail)


def _refused(asker: AzureAsker, who: str, error: BackendError) -> Iterator[Check]:
    if error.status is None and isinstance(error, TransientError):
        fix = "check endpoint, ca_file and the network"
        yield Check(name="endpoint", ok=False, detail=str(error), fix=fix)
        return
    yield Check(name="endpoint", ok=True, detail=f"{asker.host} answers")
    if error.status in {401, 403}:
        fix = (
            "set AZURE_OPENAI_API_KEY to a key of this resource"
            if asker.settings.by_key
            else f"assign the role {DATA_ROLE} on the resource"
        )
        yield Check(name=who, ok=False, detail=str(error), fix=fix)
        return
    fix = "set surface and api_version to what the resource serves"
    yield Check(name="API version", ok=False, detail=str(error), fix=fix)


# -- ARM ---------------------------------------------------------------------------------------


def _arm(asker: AzureAsker) -> Iterator[Check]:
    group, account = asker.arm.account
    try:
        get = asker.arm.client.accounts.get
        found = mapping(asker.arm.call(f"look at account {account}", get, group, account))
    except BackendError as error:
        fix = f"check subscription_id, resource_group and account; assign {ARM_ROLE} there"
        yield Check(name="ARM account", ok=False, detail=str(error), fix=fix)
        return
    region = text(found.get("location")) or ""
    yield Check(name="ARM account", ok=True, detail=f"{account} is there")
    yield _region(asker.settings.region, region)
    yield _look("deployments role", f"assign {ARM_ROLE}", lambda: _role(asker))
    yield _look("base models", f"assign {ARM_ROLE}", lambda: _models(asker, region))
    yield _look("usage metrics", f"assign {ARM_ROLE}", lambda: _metrics(asker))
    yield _look("quota", "assign Cognitive Services Usages Reader", lambda: _quota(asker, region))


def _region(wanted: str | None, region: str) -> Check:
    plain = (wanted or region).lower().replace(" ", "")
    fix = "" if plain == region else f"set region to {region}, or use an account in {wanted}"
    return Check(name="region", ok=plain == region, detail=f"the account is in {region}", fix=fix)


def _role(asker: AzureAsker) -> Check:
    name = "deployments role"
    try:
        permissions = asker.arm.permissions()
    except NotFound:
        detail = "ARM does not tell permissions here; the first deployment will"
        return Check(name=name, ok=True, detail=detail)
    if wire_arm.allows(permissions, _WRITE):
        return Check(name=name, ok=True, detail=f"{_WRITE} is allowed")
    fix = f"assign the role {ARM_ROLE} on the account (it allows {_WRITE})"
    return Check(name=name, ok=False, detail=f"{_WRITE} is not allowed", fix=fix)


def _models(asker: AzureAsker, region: str) -> Check:
    able = wire_arm.trainable(asker.models())
    names = ", ".join(sorted(able)) or "none"
    fix = "" if able else "use an account in a region that fine-tunes, such as swedencentral"
    return Check(
        name="base models",
        ok=bool(able),
        detail=f"can be fine-tuned in {region}: {names}",
        fix=fix,
        fields={"training_until": able},
    )


def _metrics(asker: AzureAsker) -> Check:
    asked = asker.arm.last_asked(asker.clock.now())
    detail = f"{len(asked)} deployments were asked in the last days"
    return Check(name="usage metrics", ok=True, detail=detail)


def _quota(asker: AzureAsker, region: str) -> Check:
    settings = asker.settings
    usages = list(asker.arm.pages("read the quota", asker.arm.client.usages.list, region))
    short, seen = [], {}
    for sku in DEFAULT_SKUS.values():
        found = wire_arm.quota(usages, sku)
        seen[sku] = {name: limit - used for name, (used, limit) in found.items()}
        if found and all(free < settings.capacity for free in seen[sku].values()):
            short.append(f"{sku} (wanted {settings.capacity})")
    if short:
        return Check(
            name="quota",
            ok=False,
            detail=f"no model has room in {region} for {', '.join(short)}",
            fix="set a smaller capacity, or ask for quota in the region",
            fields={"free": seen},
        )
    return Check(name="quota", ok=True, detail=f"room in {region}", fields={"free": seen})
