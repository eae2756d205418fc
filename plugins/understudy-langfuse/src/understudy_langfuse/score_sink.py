"""Scores, dataset items and experiments, written to Langfuse; writing again changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from understudy.backend import Clock
from understudy.backend import Settings as BackendSettings
from understudy.errors import InvalidData, NotFound
from understudy.hookspecs import ScoreSink
from understudy.model import (
    DatasetItem,
    ExperimentItem,
    ExperimentRun,
    Rejection,
    Score,
    SinkReport,
)
from understudy_langfuse.ids import item_id, place_of, span_id, trace_id
from understudy_langfuse.settings import LangfuseSettings
from understudy_langfuse.spans import Place, experiment_id, experiment_seed, experiment_span

if TYPE_CHECKING:
    from understudy_langfuse.sdk import Sdk

__all__ = ["LangfuseScoreSink"]

T = TypeVar("T")

_BATCH = 100


class LangfuseScoreSink(ScoreSink):
    """Writes to a project, in batches; what a batch's refusal is about is found by its halves."""

    Settings: ClassVar[type[BackendSettings]] = LangfuseSettings
    sleep: Callable[[float], None] = staticmethod(time.sleep)
    """Waits for so many seconds; a test puts its own in place."""

    def __init__(self, *, settings: BackendSettings, clock: Clock) -> None:
        super().__init__(settings=settings, clock=clock)
        self._settings = cast("LangfuseSettings", settings)
        self._connected: Sdk | None = None

    @property
    def _connection(self) -> Sdk:
        if self._connected is None:
            from understudy_langfuse.sdk import Sdk

            self._connected = Sdk(self._settings, self.clock, self.sleep)
        return self._connected

    def write_scores(self, scores: Iterable[Score]) -> SinkReport:
        """Attach scores to calls that came from Langfuse or were told to it."""
        return self._write_scores(_score(one) for one in scores)

    def _write_scores(self, scores: Iterable[Mapping[str, Any]]) -> SinkReport:
        accepted, rejected = 0, list[Rejection]()
        for batch in _batches(scores):
            refused = self._send_scores(batch)
            accepted += len(batch) - len(refused)
            rejected += refused
        return SinkReport(accepted=accepted, rejected=tuple(rejected))

    def _send_scores(self, batch: Sequence[Mapping[str, Any]]) -> list[Rejection]:
        reason = self._refusal_of(batch)
        if reason is None:
            return []
        if len(batch) == 1:
            return [Rejection(id=str(batch[0]["id"]), reason=reason)]
        half = len(batch) // 2
        return self._send_scores(batch[:half]) + self._send_scores(batch[half:])

    def _refusal_of(self, batch: Sequence[Mapping[str, Any]]) -> str | None:
        try:
            reply = self._connection.ask(
                "scores",
                lambda api: api.scores.create(
                    request=cast("Any", batch), request_options={"max_retries": 0}
                ),
            )
        except InvalidData as error:
            return str(error)
        if not getattr(reply, "rejected", 0):
            return None
        return "; ".join(one.message for one in getattr(reply, "errors", ()))[:300] or "refused"

    def write_items(self, dataset: str, items: Iterable[DatasetItem]) -> SinkReport:
        """Put items into a dataset, which is made where it is absent."""
        found = self._dataset(dataset)
        accepted, rejected = 0, list[Rejection]()
        for item in items:
            try:
                self._write_item(dataset, item)
            except InvalidData as error:
                rejected.append(Rejection(id=item.id, reason=str(error)))
            else:
                accepted += 1
        place = f"{self._settings.base_url}/project/{found.project_id}/datasets/{found.id}"
        return SinkReport(accepted=accepted, rejected=tuple(rejected), place=place)

    def _write_item(self, dataset: str, item: DatasetItem) -> None:
        trace, observation = place_of(item.call) if item.call else (None, None)
        self._connection.ask(
            "a dataset item",
            lambda api: api.dataset_items.create(
                dataset_name=dataset,
                id=item_id(dataset, item.id),
                input=item.input,
                expected_output=item.expected,
                metadata={**item.metadata, "understudy_item": item.id},
                source_trace_id=trace,
                source_observation_id=observation,
                request_options={"max_retries": 0},
            ),
        )

    def _dataset(self, name: str) -> Any:
        """The dataset of a name, made where it is absent."""
        once: Any = {"max_retries": 0}
        try:
            return self._connection.ask(
                "the dataset", lambda api: api.datasets.get(name, request_options=once)
            )
        except NotFound as error:
            if error.code == "no_route":
                raise
        return self._connection.ask(
            "a new dataset", lambda api: api.datasets.create(name=name, request_options=once)
        )

    def write_experiment(self, run: ExperimentRun) -> SinkReport:
        """Write an evaluation as an experiment, each item a trace of its own.

        The scores of an item are written after its trace, those of the run last: where it breaks
        off, writing it again completes it.
        """
        project = self._project()
        dataset = self._dataset(run.dataset).id if run.dataset else None
        place = Place(experiment=experiment_id(project, dataset, run.name), dataset=dataset)
        accepted, rejected = 0, list[Rejection]()
        for batch in _batches(run.items):
            told = [(item.item, _with_dataset_id(run, item)) for item in batch]
            refused = self._send_items(run, told, place)
            lost = {one.id for one in refused}
            kept = [item for name, item in told if name not in lost]
            said = self._write_scores(s for item in kept for s in _item_scores(item, place))
            accepted += len(kept)
            rejected += [*refused, *said.rejected]
        whole = self._write_scores(_run_scores(run, place))
        server = self._settings.base_url
        return SinkReport(
            accepted=accepted,
            rejected=(*rejected, *whole.rejected),
            place=f"{server}/project/{project}/experiments/results?baseline={place.experiment}",
        )

    def _send_items(
        self, run: ExperimentRun, batch: Sequence[tuple[str, ExperimentItem]], place: Place
    ) -> list[Rejection]:
        try:
            self._connection.post_spans([experiment_span(run, item, place) for _, item in batch])
        except InvalidData as error:
            if len(batch) == 1:
                return [Rejection(id=batch[0][0], reason=str(error))]
            half = len(batch) // 2
            return self._send_items(run, batch[:half], place) + self._send_items(
                run, batch[half:], place
            )
        return []

    def _project(self) -> str:
        found = self._connection.ask(
            "its project", lambda api: api.projects.get(request_options={"max_retries": 0})
        )
        if not found.data:
            raise NotFound(f"the keys of {self._settings.base_url} belong to no project")
        return str(found.data[0].id)

    def close(self) -> None:
        """Give the connection back."""
        if self._connected is not None:
            self._connected.close()


def _batches(things: Iterable[T]) -> Iterator[list[T]]:
    stream = iter(things)
    while batch := list(islice(stream, _BATCH)):
        yield batch


def _score(one: Score) -> dict[str, Any]:
    trace, observation = place_of(one.call)
    made = _judged(one.id, one.name, one.value)
    made |= {"traceId": trace, "observationId": observation}
    if one.comment is not None:
        made["comment"] = one.comment
    if one.metadata:
        made["metadata"] = dict(one.metadata)
    if one.at is not None:
        made["timestamp"] = datetime.fromtimestamp(one.at, UTC).isoformat()
    return made


def _judged(name: str, of: str, value: float | bool | str) -> dict[str, Any]:
    if isinstance(value, str):
        return {"id": name, "name": of, "value": value, "dataType": "CATEGORICAL"}
    kind = "BOOLEAN" if isinstance(value, bool) else "NUMERIC"
    return {"id": name, "name": of, "value": float(value), "dataType": kind}


def _item_scores(item: ExperimentItem, place: Place) -> Iterator[dict[str, Any]]:
    seed = experiment_seed(place, item.item)
    for name, value in item.scores.items():
        made = _judged(span_id(f"{seed}/{name}"), name, value)
        yield made | {"traceId": trace_id(seed), "observationId": span_id(seed)}


def _run_scores(run: ExperimentRun, place: Place) -> Iterator[dict[str, Any]]:
    for name, value in run.scores.items():
        made = _judged(span_id(f"{place.experiment}/run/{name}"), name, value)
        yield made | {"datasetRunId": place.experiment}


def _with_dataset_id(run: ExperimentRun, item: ExperimentItem) -> ExperimentItem:
    """An item under the id that it has in Langfuse's dataset."""
    return replace(item, item=item_id(run.dataset, item.item)) if run.dataset else item
