"""Whom a recipe asks, by which way: the model pinned once, the batch limits, or the live way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from understudy.backend import SupportsBatch, SupportsInfer
from understudy.batch.recipe import PrecomputeRecipe
from understudy.engine import Engine
from understudy.engine.deploying import Serving
from understudy.errors import ConfigError, NotEligible
from understudy.model import BatchLimits
from understudy.store import registry
from understudy.store.schema import deployments

__all__ = ["Pinned", "Way", "choose", "pin", "serving"]

_LIVE_SHARD = 10_000
_LIVE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned:
    """The model that answers. ``version`` goes into keys: the same as in the book of answers."""

    backend: str
    model: str
    registered: str | None = None
    """``name@3``, where it is a registered version."""

    @property
    def version(self) -> str:
        """Backend and the provider's name: what an alias pointed at when it was resolved."""
        return f"{self.backend}:{self.model}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """``via`` is ``batch`` or ``live``; ``refusal``: why it cannot be by batch."""

    via: str
    limits: BatchLimits
    refusal: str = ""


def pin(engine: Engine, recipe: PrecomputeRecipe) -> Pinned:
    """Resolve alias or version once.

    Raises:
        ConfigError: there is no such version or alias.
    """
    ask = recipe.ask
    if ask.backend is not None:
        return Pinned(backend=ask.backend, model=ask.model)
    with engine.store.read() as tx:
        found = registry.get_model(tx, ask.model)
    return Pinned(backend=found.backend, model=found.model, registered=found.id)


def choose(engine: Engine, recipe: PrecomputeRecipe, pinned: Pinned) -> Way:
    """By batch where the model can be; live where the recipe says so.

    Raises:
        ConfigError: the backend can do neither, or the live way lacks its rate.
        NotEligible: the recipe insists on batches and the model cannot be asked so.
    """
    sending = recipe.batch
    refusal = ""
    if sending.via != "live":
        try:
            return Way(via="batch", limits=_narrowed(recipe, _limits(engine, pinned)))
        except NotEligible as error:
            if sending.via == "batch":
                raise
            refusal = str(error)
    if not isinstance(engine.backends.backend(pinned.backend), SupportsInfer):
        raise ConfigError(f"{pinned.backend} can be asked neither by batch nor live: {refusal}")
    if sending.requests_per_minute is None and sending.via == "live":
        raise ConfigError(
            '[batch] via = "live" needs requests_per_minute: the share of the deployment\'s rate '
            "that may be used"
        )
    limits = BatchLimits(requests=_LIVE_SHARD, bytes=_LIVE_BYTES, window=0.0)
    return Way(via="live", limits=_narrowed(recipe, limits), refusal=refusal)


def _limits(engine: Engine, pinned: Pinned) -> BatchLimits:
    backend = engine.backends.backend(pinned.backend)
    if not isinstance(backend, SupportsBatch):
        reason = engine.backends.capabilities(pinned.backend).batch.reason
        raise NotEligible(f"{pinned.backend} does not batch: {reason or 'it has no batches'}")
    return backend.batch_limits(pinned.model)


def _narrowed(recipe: PrecomputeRecipe, limits: BatchLimits) -> BatchLimits:
    sending = recipe.batch
    enqueued = [n for n in (limits.enqueued_tokens, sending.enqueued_tokens) if n is not None]
    return replace(
        limits,
        requests=min(limits.requests, sending.requests_a_batch or limits.requests),
        enqueued_tokens=min(enqueued, default=None),
    )


def serving(engine: Engine, tx: sa.Connection, backend: str, model: str) -> Serving:
    """What to ask live: the model, or the deployment that serves it where only those answer.

    Raises:
        ConfigError: it answers only through a deployment and none serves it.
    """
    if not engine.backends.capabilities(backend).deploy.ok:
        return Serving(name=model)
    query = sa.select(deployments.c.serves_as, deployments.c.sku, deployments.c.operation).where(
        deployments.c.backend == backend,
        deployments.c.model == model,
        deployments.c.state == "serving",
        deployments.c.purpose == "serving",
    )
    found = tx.execute(query).first()
    if found is None:
        raise ConfigError(
            f"{model} answers on {backend} only through a deployment, and none serves it; start "
            "one with `understudy deployments start`"
        )
    return Serving(name=found.serves_as, sku=found.sku, operation=found.operation)
