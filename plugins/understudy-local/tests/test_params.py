"""Hyperparameters, and what is refused before anything starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from local_kit import chats, fake_student, job_spec, make_backend, write_rows
from understudy.model import JobSpec, Problem
from understudy_local import checks
from understudy_local.backend import LocalBackend
from understudy_local.params import LEARNING_RATES, METHODS, LocalParams


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return job_spec(tmp_path, fake_student(tmp_path / "student"))


def wrong(backend: LocalBackend, spec: JobSpec, **hyperparameters: object) -> list[Problem]:
    return backend.validate(dataclasses.replace(spec, hyperparameters=hyperparameters))


def fields(problems: list[Problem]) -> list[str]:
    assert all(problem.fix for problem in problems)
    return [problem.field.removeprefix("hyperparameters.") for problem in problems]


def test_a_good_spec_has_no_problem(backend, spec):
    assert backend.validate(spec) == []


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"n_epoch": 2}, "n_epoch"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"bond_beta": 0.5}, "bond_beta"),
        ({"dpo_beta": 0.5}, "dpo_beta"),
        ({"early_stopping": 2}, "early_stopping"),
        ({"max_steps": 2, "n_epochs": 2}, "max_steps"),
        ({"quantize": "4bit"}, "quantize"),
        ({"gpus": 2}, "gpus"),
        ({"max_length": 4096}, "max_length"),
    ],
)
def test_each_thing_that_cannot_work_is_named(backend, spec, given_, field):
    assert fields(wrong(backend, spec, **given_)) == [field]


def test_a_near_name_is_suggested(backend, spec):
    (problem,) = wrong(backend, spec, batchsize=2)
    assert "did you mean 'batch_size'?" in problem.fix


def test_all_is_told_at_once(backend, spec):
    spec = dataclasses.replace(spec, method="reinforcement", integrations=({"type": "wandb"},))
    told = wrong(backend, spec, batch_size=0, nonsense=1)
    assert fields(told) == ["nonsense", "batch_size", "method", "integrations"]


def test_too_few_rows(backend, spec, tmp_path):
    few = dataclasses.replace(spec, training=write_rows(tmp_path / "one.jsonl", chats(1)))
    assert [problem.field for problem in backend.validate(few)] == ["training"]


def test_an_unknown_student_is_told_what_there_is(backend, spec):
    (problem,) = backend.validate(dataclasses.replace(spec, base_model="llama-9"))
    assert problem.field == "base_model"
    assert "llama-3.2-1b" in problem.message


def test_a_gated_student_wants_a_token(home, spec):
    gated = dataclasses.replace(spec, base_model="llama-3.2-1b")
    (problem,) = make_backend(home, offline=False).validate(gated)
    assert "accept its licence" in problem.fix
    allowed = make_backend(home, offline=False, hf_token=SecretStr("hf_x"))
    assert not any("gated" in p.message for p in allowed.validate(gated))


def test_quantizing_without_bitsandbytes(monkeypatch, home, spec):
    monkeypatch.setattr(checks, "kind_of", lambda _: "cuda")
    monkeypatch.setattr(checks, "find_spec", lambda _: None)
    (problem,) = wrong(make_backend(home), spec, quantize="8bit")
    assert problem.fix == "pip install bitsandbytes"


def test_each_method_has_a_learning_rate():
    assert set(LEARNING_RATES) == set(METHODS)
    assert LocalParams().rate("bond") == LEARNING_RATES["bond"]
    assert LocalParams(learning_rate=0.5).rate("bond") == 0.5


@settings(deadline=None)
@given(
    rows=st.integers(1, 10_000),
    batch=st.integers(1, 64),
    pile=st.integers(1, 8),
    epochs=st.integers(1, 5),
)
def test_steps_see_every_row_as_often_as_asked(rows, batch, pile, epochs):
    params = LocalParams(batch_size=batch, gradient_accumulation=pile, n_epochs=epochs)
    seen = params.steps(rows) * batch * pile
    assert seen >= rows * epochs
    assert (params.steps(rows) // epochs - 1) * batch * pile < rows
