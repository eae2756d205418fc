"""Whether a deployment may be made: its model, source, sku, count and quota."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy_sandbox.azure import offers
from understudy_sandbox.errors import ApiError

if TYPE_CHECKING:
    from understudy_sandbox.azure.schemas import Model, PutDeployment
    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc

MOST_TUNED = 10  # fine-tuned deployments of a resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A model that may be deployed: as ARM names it, and the base that prices it."""

    name: str
    version: str
    base: str
    tuned: bool


def source_account(model: Model) -> str | None:
    """The resource id of the account that a fine-tune comes from, where one is named."""
    return model.source or model.sourceAccount


def _invalid(message: str, code: str = "InvalidResourceProperties") -> ApiError:
    return ApiError(400, message, code=code)


def _found(provider: Provider, account: str, model: Model) -> Placed:
    try:
        found = provider.deployments.model_of(model.model_dump())
    except ApiError:
        found = None
    unknown = ApiError(
        400,
        f"The specified model '{model.name}' version '{model.version or '1'}' (format "
        f"'{model.format}') is not known to this resource, or is retired.",
        code="DeploymentModelNotSupported",
    )
    if found is None or model.format != "OpenAI":
        raise unknown
    if found.tuned is None:
        name, version = offers.split_base(found.base)
        return Placed(name=name, version=version, base=found.base, tuned=False)
    home = str(found.tuned.get("home", "")).removeprefix("azure/")
    source = (source_account(model) or account).rstrip("/").rsplit("/", 1)[-1]
    if source.lower() != home.lower():
        raise _invalid(
            f"The model '{model.name}' was not found in the resource '{source}'. Where it was "
            "trained in another resource, name that one as the model's source.",
            "DeploymentModelNotSupported",
        )
    return Placed(name=found.name, version=model.version or "1", base=found.base, tuned=True)


def check_place(
    provider: Provider,
    account: str,
    region: str,
    body: PutDeployment,
    *,
    instead_of: Doc | None = None,
) -> Placed:
    """What is to be deployed, if it may be.

    Args:
        provider: the sandbox.
        account: the resource.
        region: its region.
        body: the request.
        instead_of: the deployment that is changed, whose own capacity counts as free.

    Raises:
        ApiError: 400, with the code of what does not allow it.
    """
    place = _found(provider, account, body.properties.model)
    sku = body.sku.name
    if sku not in offers.SKUS or not offers.fits_sku(sku, tuned=place.tuned):
        raise _invalid(
            f"The specified SKU '{sku}' for model '{place.name} {place.version}' is not supported "
            f"in this region '{region}'. Supported: "
            f"{', '.join(s for s in offers.SKUS if offers.fits_sku(s, tuned=place.tuned))}."
        )
    if body.sku.capacity < 1:
        raise _invalid("The capacity of the sku must be at least 1 (thousand tokens a minute).")
    if place.tuned and instead_of is None:
        count = sum(d["tuned"] for d in provider.deployments.of(account))
        if count >= MOST_TUNED:
            raise _invalid(
                f"The resource has {count} fine-tuned deployments, and may have {MOST_TUNED}. "
                "Delete one that is not used.",
                "QuotaExceeded",
            )
    _check_quota(provider, region, body, place, instead_of)
    return place


def _check_quota(
    provider: Provider, region: str, body: PutDeployment, place: Placed, instead_of: Doc | None
) -> None:
    sku, wanted = body.sku.name, body.sku.capacity
    limit = provider.config.azure.quota
    used = provider.deployments.used(region, sku, place.base, tuned=place.tuned)
    if instead_of is not None and instead_of["sku"] == sku:
        used -= instead_of["capacity"]
    if used + wanted > limit:
        raise offers.no_quota(
            offers.localized(sku, place.base, tuned=place.tuned), wanted, used, limit
        )
