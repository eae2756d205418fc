"""What a learner is to the sandbox. Another learner registers under a name and fits here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from understudy_sandbox.learner.rows import Answer, Prompt, Sample


class Refused(Exception):  # noqa: N818 - nothing broke
    """A learner cannot learn this, or failed at it; its words are for the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Hyperparameters of a fit.

    Attributes:
        epochs: looks at the data; 1 to 50.
        seed: makes a fit repeatable.
        rate: learning-rate multiplier; 1.0 is the learner's own rate.
    """

    epochs: int
    seed: int
    rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a fit saw at one point.

    Attributes:
        fraction: how much of the fit was done, above 0 to 1.
        train_loss: mean negative log-likelihood (nats) of the right decisions.
        train_accuracy: share of right decisions.
        valid_loss: the same on the validation file, where there is one.
        valid_accuracy: the same on the validation file, where there is one.
    """

    fraction: float
    train_loss: float
    train_accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None


class Learned(Protocol):
    """A fitted model. Safe to ask from several threads."""

    def answer_many(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """The answer to every prompt, in order."""


class Learner(Protocol):
    """Fits models to rows."""

    def fit(
        self,
        samples: Sequence[Sample],
        validation: Sequence[Sample],
        settings: Settings,
        on_measure: Callable[[Measure], None],
    ) -> Learned:
        """Fit to samples (at least one), calling ``on_measure`` as the fit goes on.

        Raises:
            Refused: it cannot be learned; why.

        The same samples, settings and version of the learner give the same model. A fit of fewer
        epochs is a prefix of a fit of more: checkpoints are made so.
        """
