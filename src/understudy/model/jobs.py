"""A fine-tuning run: its rows, its specification, the model that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from understudy.model.chat import Json, Message

__all__ = [
    "PAIRED_METHODS",
    "Checkpoint",
    "Estimate",
    "Example",
    "JobSpec",
    "Lifecycle",
    "Method",
    "ModelRef",
    "Problem",
    "Rows",
]

Method = Literal["supervised", "dpo", "reinforcement", "best_of_n_sft", "bond"]
"""How a student learns. best_of_n_sft: supervised, on the best of several answers; bond: on
preference pairs, as dpo."""

PAIRED_METHODS: frozenset[Method] = frozenset({"dpo", "bond"})
"""Methods whose rows are preference pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One training row.

    ``messages`` ends with the assistant's answer. ``source_id`` names the conversation it came
    from: examples that share it are never split apart. ``reference`` is a better answer than the
    teacher's, where one is known; evaluation scores against it. ``rejected`` is the dispreferred
    answer of a preference pair.
    """

    messages: tuple[Message, ...]
    source_id: str
    tools: tuple[Message, ...] = ()
    reference: str | None = None
    rejected: tuple[Message, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """A file of training rows in chat JSONL, with the counts that estimates and limits need.

    ``tokens`` counts one epoch by the formula of the provider's chat format; ``longest`` is the
    longest row in tokens.
    """

    path: str
    sha256: str
    rows: int
    tokens: int
    longest: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """All that a backend must know to fine-tune once.

    ``hyperparameters`` holds only names of the backend's ``Params``; ``metadata`` is the user's.
    """

    base_model: str
    method: Method
    training: Rows
    validation: Rows | None = None
    hyperparameters: Mapping[str, Json] = field(default_factory=dict[str, Json])
    suffix: str | None = None
    seed: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, Json])
    integrations: tuple[Mapping[str, Json], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a spec cannot work, found without network or money. ``fix`` says what to do."""

    field: str
    message: str
    fix: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A model as it was at one step; can be registered as a model version."""

    id: str
    model: str
    step: int
    metrics: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRef:
    """A model that answers, as its provider names it.

    ``owner`` is who the provider says serves it: on the sandbox it says so, and every report
    shows it.
    """

    backend: str
    id: str
    base_model: str
    owner: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifecycle:
    """When a model goes away. Dates are ISO days; ``source`` says who told."""

    model: str
    inference_until: str | None
    training_until: str | None
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a training run will be billed for, before it starts.

    ``tokens`` is the expected number of billed tokens, ``at_most`` an upper bound; ``tier`` the
    price tier of training, where the provider has several. ``usd`` and ``usd_at_most`` are what the
    backend itself says that training costs, where it is not billed by the token; no price table is
    asked then.
    """

    tokens: int
    at_most: int
    epochs: int
    notes: tuple[str, ...] = ()
    tier: str | None = None
    usd: Decimal | None = None
    usd_at_most: Decimal | None = None
