"""Scores, dataset items and experiments: written, written again, refused in part, interrupted."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import pytest

from langfuse_kit import Waits, seed, settings, source
from understudy.clock import SystemClock
from understudy.errors import AuthError, InvalidData, NotFound, Unavailable
from understudy.model import DatasetItem, ExperimentItem, ExperimentRun, Score
from understudy_langfuse.score_sink import LangfuseScoreSink
from understudy_langfuse.spans import experiment_id

AT = 1_780_000_000.0
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def sink(sandbox, finish) -> LangfuseScoreSink:
    made: LangfuseScoreSink = finish(
        LangfuseScoreSink(settings=settings(sandbox), clock=SystemClock())
    )
    made.sleep = Waits()  # type: ignore[method-assign]
    return made


@pytest.fixture
def api(sink) -> Any:
    """The SDK's own client: what another program would see."""
    return sink._connection.api


@pytest.fixture
def calls(sandbox, environment, first, finish) -> list[str]:
    """Ids of three calls of the project, as the source gives them."""
    seed(sandbox, range(first, first + 3), **{"langfuse.environment": environment})
    made = finish(source(sandbox, environments=[environment]))
    return [record.value["id"] for page in made.pages(None) for record in page.records]


def score(number: int, call: str, **changes: Any) -> Score:
    given: dict[str, Any] = {"name": "right", "value": 0.5, **changes}
    return Score(id=f"{call}-{number}", call=call, **given)


def test_scores_of_every_kind_reach_their_calls(sandbox, environment, sink, calls, finish) -> None:
    done = sink.write_scores(
        [
            score(1, calls[0], value=0.25, comment="so so", at=AT, metadata={"judge": "x"}),
            score(2, calls[0], name="passed", value=True),
            score(3, calls[1], name="tone", value="kind"),
        ]
    )
    assert (done.accepted, done.rejected) == (3, ())
    made = finish(source(sandbox, environments=[environment]))
    found = [record.value for page in made.pages(None) for record in page.records]
    assert found[0]["scores"] == {"passed": 1.0, "right": 0.25}
    assert found[1]["metadata"]["langfuse"]["scores"] == {"tone": "kind"}
    assert "scores" not in found[2]


def test_scores_written_again_are_the_same_scores(sink, calls, api) -> None:
    given = [score(1, calls[0]), score(2, calls[1])]
    sink.write_scores(given)
    sink.write_scores([*given, score(1, calls[0], value=0.75)])
    trace = calls[0].removeprefix("langfuse:").split("/")[0]
    (found,) = api.scores.get_many(trace_id=trace).data
    assert found.value == 0.75


def test_a_refused_score_is_named_and_the_others_are_written(sink, calls) -> None:
    many = [score(i, calls[0], name=f"s{i}") for i in range(130)]
    many[77] = Score(id="bad", call=calls[0], name="", value=1.0)
    done = sink.write_scores(many)
    assert done.accepted == 129
    assert [one.id for one in done.rejected] == ["bad"]
    assert "name" in done.rejected[0].reason


def test_a_busy_server_is_waited_for(sandbox, sink, calls) -> None:
    sandbox.faults({"on": "langfuse.scores.create", "do": "error", "status": 429, "retry_after": 5})
    assert sink.write_scores([score(1, calls[0])]).accepted == 1
    assert sink.sleep.seconds == [5]  # type: ignore[attr-defined]


def test_scores_after_a_lost_reply_are_not_two(sandbox, sink, calls, api) -> None:
    sandbox.faults({"on": "langfuse.scores.create", "do": "drop_after"})
    assert sink.write_scores([score(1, calls[0])]).accepted == 1
    trace = calls[0].removeprefix("langfuse:").split("/")[0]
    assert len(api.scores.get_many(trace_id=trace).data) == 1


def test_items_make_a_dataset_and_change_nothing_the_second_time(sink, calls, api, first) -> None:
    name = f"golden {first}/a"
    items = [
        DatasetItem(id="i1", input={"q": 1}, expected="a", call=calls[0], metadata={"s": 1}),
        DatasetItem(id="i2", input="text"),
    ]
    done = sink.write_items(name, items)
    assert (done.accepted, done.rejected) == (2, ())
    assert done.place.startswith(sink._settings.base_url)
    sink.write_items(name, items)
    found = api.dataset_items.list(dataset_name=name).data
    assert {one.metadata["understudy_item"] for one in found} == {"i1", "i2"}
    assert len(found) == 2
    whole = next(one for one in found if one.metadata["understudy_item"] == "i1")
    assert f"langfuse:{whole.source_trace_id}/{whole.source_observation_id}" == calls[0]
    assert (whole.input, whole.expected_output, whole.metadata["s"]) == ({"q": 1}, "a", 1)


def test_the_same_item_in_two_datasets_is_two(sink, api, first) -> None:
    for name in (f"one-{first}", f"two-{first}"):
        sink.write_items(name, [DatasetItem(id="same", input=name)])
        (found,) = api.dataset_items.list(dataset_name=name).data
        assert found.input == name


def run(dataset: str | None, name: str = "student v1") -> ExperimentRun:
    items = [
        ExperimentItem(
            item=f"i{i}",
            input=f"q{i}",
            output=f"a{i}",
            expected="a0",
            began=AT,
            ended=AT + 1,
            scores={"exact": float(i == 0)},
            model="ft:student",
        )
        for i in range(3)
    ]
    return ExperimentRun(
        name=name,
        dataset=dataset,
        items=items,
        description="held-out rows",
        scores={"exact_mean": 1 / 3},
        metadata={"job": "j1"},
    )


def test_an_experiment_shows_with_its_items_and_scores(sink, api, first) -> None:
    name = f"golden-{first}"
    sink.write_items(name, [DatasetItem(id=f"i{i}", input=f"q{i}") for i in range(3)])
    for _ in range(2):  # the second time changes nothing
        done = sink.write_experiment(run(name))
        assert (done.accepted, done.rejected) == (3, ())
    dataset = api.datasets.get(name)
    found = api.experiments.list(
        from_start_time=LONG_AGO, dataset_id=dataset.id, fields="core,metadata,scores"
    ).data
    (shown,) = found
    assert (shown.name, shown.item_count, shown.metadata) == ("student v1", 3, {"job": "j1"})
    assert [(one.name, one.value) for one in shown.scores] == [("exact_mean", 1 / 3)]
    assert shown.id in done.place
    items = api.experiments.list_items(
        from_start_time=LONG_AGO, experiment_id=shown.id, fields="core,dataset,io,scores"
    ).data
    assert sorted(one.output for one in items) == ['"a0"', '"a1"', '"a2"']
    known = {one.id for one in api.dataset_items.list(dataset_name=name).data}
    assert {one.experiment_item_id for one in items} == known
    assert sorted(one.scores[0].value for one in items) == [0, 0, 1]


def test_the_run_is_the_one_that_the_sdks_give_this_name(sink, api, first, sandbox) -> None:
    """An experiment of Langfuse's own SDK under the same name lands in the same run."""
    from langfuse import Langfuse

    name = f"shared-{first}"
    sink.write_items(name, [DatasetItem(id="i0", input="q0")])
    sink.write_experiment(run(name))
    of = settings(sandbox)
    own = Langfuse(
        public_key=of.public_key,
        secret_key=of.secret_key.get_secret_value(),
        base_url=of.base_url,
    )
    done = own.get_dataset(name).run_experiment(
        name="x", run_name="student v1", task=lambda **_: "a"
    )
    own.shutdown()
    dataset = api.datasets.get(name).id
    assert done.experiment_id == experiment_id("understudy-sandbox", dataset, "student v1")
    (shown,) = api.experiments.list(from_start_time=LONG_AGO, dataset_id=dataset).data
    assert shown.item_count == 4


def test_without_a_dataset_it_is_an_experiment_too(sink, api, first) -> None:
    done = sink.write_experiment(run(None, name=f"alone-{first}"))
    assert done.accepted == 3
    (shown,) = api.experiments.list(from_start_time=LONG_AGO, name=f"alone-{first}").data
    assert (shown.item_count, shown.dataset_id) == (3, None)


def test_what_broke_off_is_completed_by_writing_it_again(sandbox, sink, api, first) -> None:
    name = f"broken-{first}"
    sink._connection.settings = settings(sandbox, attempts=1)
    sandbox.faults({"on": "langfuse.scores.create", "do": "error", "status": 500, "times": None})
    with pytest.raises(Unavailable):
        sink.write_experiment(run(None, name=name))
    sandbox.faults()
    sink.write_experiment(run(None, name=name))
    (shown,) = api.experiments.list(from_start_time=LONG_AGO, name=name, fields="core,scores").data
    assert (shown.item_count, len(shown.scores)) == (3, 1)


def test_a_reply_that_the_sdk_does_not_know_tells_places_not_values(sink, api, monkeypatch) -> None:
    def odd(*_: Any, **__: Any) -> Any:
        return httpx.Response(200, json={"id": "secret row text", "name": 7})

    monkeypatch.setattr(api._client_wrapper.httpx_client, "request", odd)
    with pytest.raises(InvalidData, match="in a form that its SDK does not know") as caught:
        sink.write_items("x", [])
    assert "secret row text" not in str(caught.value)
    assert "name" in str(caught.value)


def test_wrong_keys_and_wrong_servers_are_told(sandbox, finish) -> None:
    def write(**changes: Any) -> None:
        made = finish(LangfuseScoreSink(settings=settings(sandbox, **changes), clock=SystemClock()))
        made.write_items("x", [])

    with pytest.raises(AuthError, match="refused the pair of keys"):
        write(secret_key="sk-lf-wrong")
    with pytest.raises(NotFound):
        write(base_url=f"{settings(sandbox).base_url}/v1")
