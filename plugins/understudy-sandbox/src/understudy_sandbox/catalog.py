"""The models that the sandbox knows: base models, their short names, and what was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy_sandbox.billing import Priced
from understudy_sandbox.clock import shutdown_day
from understudy_sandbox.errors import ApiError, no_model
from understudy_sandbox.state import OPENAI_HOME

if TYPE_CHECKING:
    from understudy_sandbox.clock import Clock
    from understudy_sandbox.state import Doc, State

OWNER = "understudy-sandbox"
_DEFAULT_DAYS = 400
BASES = (
    "gpt-4o-mini-2024-07-18",
    "gpt-4o-2024-08-06",
    "gpt-4.1-2025-04-14",
    "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano-2025-04-14",
    "gpt-6-luna",
)
_NOT_TUNABLE = frozenset({"gpt-6-luna"})
_DPO = frozenset({b for b in BASES if b not in _NOT_TUNABLE})
_ALIASES = {
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A model that answers.

    Attributes:
        name: the name in replies and on the bill.
        base: the base model that prices it.
        tuned: the stored document of a fine-tuned model; None for a base model.
        tier: Azure's price tier of the deployment that answers, or None.
    """

    name: str
    base: str
    tuned: Doc | None = None
    tier: str | None = None

    @property
    def priced(self) -> Priced:
        """What the bill needs to know of it."""
        return Priced(name=self.name, base=self.base, tuned=self.tuned is not None, tier=self.tier)


class Catalog:
    """Finds models, and says when they shut down."""

    def __init__(self, state: State, clock: Clock, days: dict[str, int]) -> None:
        self._state = state
        self._clock = clock
        self._shutdown: dict[str, str] = state.settle("shutdown", dict)
        self._made: float = state.settle("made", clock.now)
        for base in BASES:
            # Dates are fixed when a state is made; an option given later counts from then on.
            if base in days or base not in self._shutdown:
                self._shutdown[base] = shutdown_day(clock, days.get(base, _DEFAULT_DAYS))
        unknown = set(days) - set(BASES)
        if unknown:
            raise ValueError(
                f"no such base model for a shutdown date: {', '.join(sorted(unknown))}; "
                f"known: {', '.join(BASES)}"
            )
        state.set("shutdown", self._shutdown)

    def retire(self, base: str) -> None:
        """Make yesterday the shutdown date of a base model, and so of all its fine-tunes."""
        self._shutdown[_ALIASES.get(base, base)] = shutdown_day(self._clock, -1)
        self._state.set("shutdown", self._shutdown)

    def is_retired(self, base: str) -> bool:
        """Whether a base model's shutdown date is past."""
        return self._shutdown[base] <= self._clock.today().isoformat()

    def ends(self, base: str) -> str:
        """The shutdown date (YYYY-MM-DD) of a base model."""
        return self._shutdown[base]

    def trains(self, base: str) -> bool:
        """Whether a base model can be fine-tuned at all."""
        return base not in _NOT_TUNABLE and not self.is_retired(base)

    def resolve(self, name: str) -> Resolved:
        """The model of a name.

        Raises:
            ApiError: there is none (404), or it is shut down (404, ``model_not_found``).
        """
        base = _ALIASES.get(name, name)
        doc = None
        if base not in BASES:
            doc = self._state.docs["model"].get(name)
            if doc is None:
                raise no_model(name)
            base = doc["base"]
        if self.is_retired(base):
            raise ApiError(
                404,
                f"The model `{name}` was shut down on {self._shutdown[base]} and answers no more. "
                "Move to another model.",
                param="model",
                code="model_not_found",
            )
        return Resolved(name=name if doc else base, base=base, tuned=doc)

    def tunable(self, name: str, method: str) -> Resolved:
        """The model to train from.

        Raises:
            ApiError: there is none, or it cannot be fine-tuned with the method (400).
        """
        try:
            found = self.resolve(name)
        except ApiError as error:
            message = error.body["error"]["message"]
            raise ApiError(400, str(message), param="model", code="model_not_found") from None
        if found.base in _NOT_TUNABLE or (method == "dpo" and found.base not in _DPO):
            raise ApiError(
                400,
                f"Model {name} is not available for fine-tuning with the method {method}. "
                f"Models that are: {', '.join(sorted(set(BASES) - _NOT_TUNABLE))}.",
                param="model",
                code="model_not_available",
            )
        return found

    def all(self, home: str = OPENAI_HOME) -> list[dict[str, Any]]:
        """Every model that a home sees, in OpenAI's form; a checkpoint is usable but not listed."""
        tuned = [
            d
            for d in self._state.docs["model"]
            if not d["checkpoint"] and d.get("home", OPENAI_HOME) == home
        ]
        return [self._base_view(b) for b in BASES] + [self._view(d) for d in tuned]

    def view(self, name: str) -> dict[str, Any]:
        """One model as the wire shows it, retired ones too.

        Raises:
            ApiError: there is no such model.
        """
        base = _ALIASES.get(name, name)
        if base in BASES:
            return self._base_view(base)
        doc = self._state.docs["model"].get(name)
        if doc is None:
            raise no_model(name)
        return self._view(doc)

    def _base_view(self, base: str) -> dict[str, Any]:
        return self._shape(base, int(self._made), base)

    def _view(self, doc: Doc) -> dict[str, Any]:
        return self._shape(doc["id"], int(doc["created"]), doc["base"])

    def _shape(self, name: str, created: int, base: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": OWNER,
            "shutdown_date": self._shutdown[base],
        }
