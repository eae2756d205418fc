"""What is refused offline, and the body that is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from understudy.model import JobSpec
from understudy_openai import Limits, OpenAIParams, check_spec, create_body, estimate
from understudy_openai.params import BY_METHOD, default_epochs


def problems(spec: JobSpec) -> dict[str, str]:
    found = check_spec(spec, Limits(), OpenAIParams)
    assert all(problem.fix for problem in found)
    return {problem.field: f"{problem.message}; {problem.fix}" for problem in found}


def test_a_good_spec_has_no_problem(spec: JobSpec) -> None:
    assert problems(spec) == {}


@pytest.mark.parametrize(
    "values",
    [
        {"n_epochs": 1, "batch_size": 256, "learning_rate_multiplier": 0.1},
        {"n_epochs": 50, "batch_size": "auto", "learning_rate_multiplier": 2},
        {"n_epochs": "auto", "learning_rate_multiplier": "auto"},
    ],
)
def test_good_values_pass(spec: JobSpec, values: dict[str, Any]) -> None:
    assert problems(replace(spec, hyperparameters=values)) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_epochs", 0),
        ("n_epochs", 51),
        ("n_epochs", True),
        ("n_epochs", "3"),
        ("n_epochs", 2.5),
        ("batch_size", 257),
        ("learning_rate_multiplier", 0),
        ("learning_rate_multiplier", float("nan")),
        ("learning_rate_multiplier", float("inf")),
        ("learning_rate_multiplier", "fast"),
    ],
)
def test_a_value_out_of_range_is_one_problem(spec: JobSpec, name: str, value: Any) -> None:
    found = problems(replace(spec, hyperparameters={name: value}))
    assert list(found) == [f"hyperparameters.{name}"]
    assert "give a" in found[f"hyperparameters.{name}"]


def test_an_unknown_name_is_answered_with_the_nearest(spec: JobSpec) -> None:
    found = problems(replace(spec, hyperparameters={"n_epoch": 3}))
    assert "did you mean 'n_epochs'?" in found["hyperparameters.n_epoch"]


def test_beta_is_for_dpo_alone(spec: JobSpec) -> None:
    values = {"beta": 0.1}
    assert problems(replace(spec, method="dpo", hyperparameters=values)) == {}
    assert (
        "not for supervised"
        in problems(replace(spec, hyperparameters=values))["hyperparameters.beta"]
    )


def test_reinforcement_needs_a_grader_and_a_model_that_can(spec: JobSpec) -> None:
    wrong = problems(replace(spec, method="reinforcement"))
    assert set(wrong) == {"hyperparameters.grader", "base_model"}
    right = replace(
        spec,
        base_model="o4-mini-2025-04-16",
        method="reinforcement",
        hyperparameters={"grader": {"type": "string_check"}, "reasoning_effort": "low"},
    )
    assert problems(right) == {}


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-6-mini", "gpt-4o-mini-audio-preview"])
def test_models_that_cannot_be_fine_tuned_are_refused_by_name(spec: JobSpec, model: str) -> None:
    assert "cannot be fine-tuned" in problems(replace(spec, base_model=model))["base_model"]


def test_dpo_is_refused_where_the_model_cannot(spec: JobSpec) -> None:
    found = problems(replace(spec, base_model="gpt-3.5-turbo-0125", method="dpo"))
    assert "use supervised" in found["base_model"]


@pytest.mark.parametrize("model", ["ft:gpt-4o-mini-2024-07-18:org::abc", "llama-9-of-a-server"])
def test_fine_tunes_and_names_of_other_servers_pass(spec: JobSpec, model: str) -> None:
    assert problems(replace(spec, base_model=model)) == {}


def test_too_few_rows(spec: JobSpec) -> None:
    few = replace(spec, training=replace(spec.training, rows=9))
    assert "takes 10 or more" in problems(few)["training"]
    empty = replace(spec, validation=replace(spec.training, rows=0))
    assert "takes 1 or more" in problems(empty)["validation"]


def test_a_row_longer_than_the_model_takes(spec: JobSpec) -> None:
    long = replace(spec, training=replace(spec.training, longest=65_537))
    assert "max_row_tokens = 65536" in problems(long)["training"]
    assert problems(replace(spec, training=replace(spec.training, longest=65_536))) == {}


def test_a_file_above_512_mb_goes_in_parts_and_above_8_gb_is_refused(spec: JobSpec) -> None:
    assert problems(replace(spec, training=replace(spec.training, bytes=513 * 10**6))) == {}
    huge = replace(spec, training=replace(spec.training, bytes=8 * 1024**3 + 1))
    assert "fewer rows" in problems(huge)["training"]


@pytest.mark.parametrize("suffix", ["", "a:b", "a b", "-a", "é", "x" * 65])
def test_a_suffix_that_no_model_name_can_have(spec: JobSpec, suffix: str) -> None:
    assert list(problems(replace(spec, suffix=suffix))) == ["suffix"]


def test_metadata_has_limits_and_a_reserved_key(spec: JobSpec) -> None:
    many = {f"k{number}": "v" for number in range(16)}
    assert "15 are free" in problems(replace(spec, metadata=many))["metadata"]
    for metadata in ({"understudy_key": "x"}, {"k" * 65: "v"}, {"k": "v" * 513}, {"": "v"}):
        assert len(problems(replace(spec, metadata=metadata))) == 1


def test_seed_and_integrations(spec: JobSpec) -> None:
    assert list(problems(replace(spec, seed=-1))) == ["seed"]
    assert list(problems(replace(spec, seed=2**31))) == ["seed"]
    good = {"type": "wandb", "wandb": {"project": "p"}}
    assert problems(replace(spec, integrations=(good,))) == {}
    assert (
        "needs the project"
        in problems(replace(spec, integrations=({"type": "wandb"},)))["integrations.0"]
    )
    assert (
        "valid: wandb" in problems(replace(spec, integrations=({"type": "x"},)))["integrations.0"]
    )


def test_every_hyperparameter_belongs_to_a_method() -> None:
    assert set(OpenAIParams.model_fields) == {name for row in BY_METHOD.values() for name in row}


def test_the_body_puts_hyperparameters_under_the_method(spec: JobSpec) -> None:
    body = create_body(spec, training="file-1", validation="file-2", key="k")
    assert body == {
        "model": "gpt-4o-mini-2024-07-18",
        "training_file": "file-1",
        "validation_file": "file-2",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        "metadata": {"team": "search", "understudy_key": "k"},
        "seed": 7,
        "suffix": "unit",
    }


def test_the_grader_stands_beside_the_hyperparameters(spec: JobSpec) -> None:
    values = {"grader": {"type": "string_check"}, "n_epochs": None, "eval_samples": 2}
    wanted = replace(spec, method="reinforcement", hyperparameters=values)
    body = create_body(wanted, training="file-1", validation=None, key="k")
    assert body["method"]["reinforcement"] == {
        "hyperparameters": {"eval_samples": 2},
        "grader": {"type": "string_check"},
    }
    assert "validation_file" not in body


def test_integrations_go_out_as_given(spec: JobSpec) -> None:
    one = {"type": "wandb", "wandb": {"project": "p", "tags": ["a"]}}
    body = create_body(replace(spec, integrations=(one,)), training="f", validation=None, key="k")
    assert body["integrations"] == [one]


@pytest.mark.parametrize(
    ("rows", "epochs"),
    [(1, 25), (4, 25), (10, 10), (33, 3), (34, 3), (8_333, 3), (8_334, 2), (30_000, 1)],
)
def test_default_epochs_of_auto(rows: int, epochs: int) -> None:
    assert default_epochs(rows) == epochs


def test_an_estimate_is_tokens_times_epochs(spec: JobSpec) -> None:
    told = estimate(spec)
    assert (told.tokens, told.at_most, told.epochs, told.notes) == (480, 480, 2, ())
    auto = estimate(replace(spec, hyperparameters={}))
    assert (auto.epochs, auto.tokens, auto.at_most) == (8, 8 * 240, 9 * 240)
    assert "auto" in auto.notes[0]
