"""Backends as learners: what is asked of them, and what the client is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from understudy.model import (
    ChatReply,
    Handle,
    ModelRef,
    Problem,
    RemoteProblem,
    RemoteState,
    RemoteStatus,
    UploadReady,
    Usage,
)
from understudy.testing import FakeBackend
from understudy_sandbox.learner import check_name
from understudy_sandbox.learner.base import Measure, Refused, Settings
from understudy_sandbox.learner.driven import DrivenLearner
from understudy_sandbox.learner.rows import Answer, Call, Prompt, Sample


class Quick(FakeBackend):
    """Has trained as soon as it is looked at, and answers with what it was asked."""

    end = RemoteState.SUCCEEDED
    wrong: tuple[Problem, ...] = ()

    def __init__(self, *, name: str, settings: Any, clock: Any) -> None:
        super().__init__(name=name, settings=settings)
        self.seen: list[Any] = []

    def validate(self, spec: Any) -> list[Problem]:
        self.seen.append(spec)
        return list(self.wrong)

    def upload(self, spec: Any, *, key: str) -> Handle:
        self.seen.append(Path(spec.training.path).read_text())
        return Handle(kind="upload", id=key)

    def poll_upload(self, handle: Handle) -> Any:
        return UploadReady()

    def poll(self, handle: Handle) -> RemoteStatus:
        problem = RemoteProblem(message="the loss is nan; lower the learning rate")
        failed = self.end is RemoteState.FAILED
        return RemoteStatus(state=self.end, raw="ended", problem=problem if failed else None)

    def events(self, handle: Handle, *, after: str | None) -> Any:
        return iter(())

    def model(self, handle: Handle) -> ModelRef:
        return ModelRef(backend="x", id="ft:tiny", base_model="tiny")

    def complete(self, request: Any, *, timeout: float) -> ChatReply:
        said = f"{request.model}: {request.messages[-1]['content']}"
        message = {"role": "assistant", "content": said}
        return ChatReply(
            message=message, finish_reason="stop", usage=Usage(input=1, output=1), model="m"
        )


SAMPLES = [
    Sample(prompt=Prompt(text=f"q{n}", system="s"), answer=Answer(f"a{n}")) for n in range(3)
]
SETTINGS = Settings(epochs=2, seed=5)


def fit(cls: type[Quick], samples: list[Sample] = SAMPLES) -> tuple[Any, Quick]:
    measures: list[Measure] = []
    learner = DrivenLearner(cls, "tiny")
    made = learner.fit(samples, (), SETTINGS, measures.append)
    backend = learner._backend
    assert isinstance(backend, Quick)
    return made, backend


def test_the_student_is_trained_on_the_rows_and_answers():
    made, backend = fit(Quick)
    spec, rows = backend.seen[:2]
    assert (spec.base_model, spec.hyperparameters, spec.seed) == ("tiny", {"n_epochs": 2}, 5)
    assert spec.training.rows == 3
    assert '{"role":"system","content":"s"},{"role":"user","content":"q1"}' in rows
    asked = [Prompt(text="one"), Prompt(text="two", context="before")]
    assert [one.content for one in made.answer_many(asked)] == [
        "ft:tiny: one",
        "ft:tiny: before\ntwo",
    ]


def test_a_failure_is_told_in_the_backends_words():
    class Fails(Quick):
        end = RemoteState.FAILED

    with pytest.raises(Refused, match="lower the learning rate"):
        fit(Fails)


def test_what_the_backend_refuses_is_told_with_its_fix():
    class Refuses(Quick):
        wrong = (Problem(field="training", message="too few rows", fix="give more"),)

    with pytest.raises(Refused, match=r"too few rows\. give more"):
        fit(Refuses)


def test_rows_with_tool_calls_are_refused():
    calls = (Call(name="f", arguments="{}"),)
    with pytest.raises(Refused, match="tool calls"):
        fit(Quick, [Sample(prompt=Prompt(text="q"), answer=Answer(None, calls))])


def test_names_of_learners(monkeypatch):
    from understudy_sandbox import learner

    monkeypatch.setattr(learner, "_offered", lambda: {"local": object()})
    assert check_name("local:smollm2-135m") == "local:smollm2-135m"
    with pytest.raises(KeyError, match="say which"):
        check_name("local")
    monkeypatch.setattr(learner, "_offered", dict)
    with pytest.raises(KeyError, match="Install understudy-local"):
        check_name("local:smollm2-135m")
