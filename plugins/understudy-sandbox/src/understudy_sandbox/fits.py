"""Fitting models, each once: equal rows and settings share one fitted model."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from understudy_sandbox.learner import check_name, get_learner
from understudy_sandbox.learner.base import Learned, Learner, Measure, Settings
from understudy_sandbox.learner.rows import Sample, samples_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy_sandbox.state import State

_KEPT_MODELS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSpec:
    """All that a fit depends on; enough to make the same model again.

    Attributes:
        datasets: blobs of training rows, the oldest first (a continued model has several).
        validation: blob of validation rows, or None.
        epochs: epochs of this model.
        seed: seed of the job.
        rate: learning-rate multiplier.
    """

    datasets: tuple[str, ...]
    validation: str | None
    epochs: int
    seed: int
    rate: float

    @property
    def key(self) -> str:
        """A name for the model: the hash of the specification."""
        return sha256(orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)).hexdigest()


def spec_of(stored: dict[str, Any]) -> FitSpec:
    """A specification from its stored form (``dataclasses.asdict``)."""
    return FitSpec(**{**stored, "datasets": tuple(stored["datasets"])})


class Fits:
    """Fitted models, kept in memory and refitted from the stored rows after a restart."""

    def __init__(self, state: State, learner: str) -> None:
        self._state = state
        self._learner_name = check_name(learner)
        self._models: OrderedDict[str, tuple[Learned, list[dict[str, Any]]]] = OrderedDict()
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}

    @cached_property
    def _learner(self) -> Learner:
        # Its libraries take a second to import: a server that trains nothing starts without.
        return get_learner(self._learner_name)

    def fitted(
        self, spec: FitSpec, on_measure: Callable[[dict[str, Any]], None] | None = None
    ) -> tuple[Learned, list[dict[str, Any]]]:
        """The model of a specification with its measures, fitted now if need be."""
        with self._lock:
            busy = self._busy.setdefault(spec.key, threading.Lock())
        with busy:
            with self._lock:
                if spec.key in self._models:
                    self._models.move_to_end(spec.key)
                    return self._models[spec.key]
            made = self._fit(spec, on_measure)
            with self._lock:
                self._models[spec.key] = made
                while len(self._models) > _KEPT_MODELS:
                    self._models.popitem(last=False)
                self._busy.pop(spec.key, None)
            return made

    def is_ready(self, spec: FitSpec) -> bool:
        """Whether the model is in memory."""
        return spec.key in self._models

    def _fit(
        self, spec: FitSpec, on_measure: Callable[[dict[str, Any]], None] | None
    ) -> tuple[Learned, list[dict[str, Any]]]:
        measures: list[dict[str, Any]] = []

        def note(measure: Measure) -> None:
            measures.append(asdict(measure))
            if on_measure is not None:
                on_measure(measures[-1])

        samples = [s for name in spec.datasets for s in self._samples(name)]
        validation = self._samples(spec.validation) if spec.validation else []
        settings = Settings(epochs=spec.epochs, seed=spec.seed, rate=spec.rate)
        return self._learner.fit(samples, validation, settings, note), measures

    def _samples(self, blob: str) -> list[Sample]:
        with self._state.blob(blob).open("rb") as lines:
            return samples_of(lines)
