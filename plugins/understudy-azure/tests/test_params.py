"""What can be told of a job before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from azure_kit import TUNED, make_backend
from understudy.model import JobSpec
from understudy_azure.params import AzureParams, base_model, training_type


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Standard", "Standard"),
        ("regional", "Standard"),
        ("GlobalStandard", "GlobalStandard"),
        ("globalStandard", "GlobalStandard"),
        ("global_standard", "GlobalStandard"),
        ("GLOBAL", "GlobalStandard"),
        ("developerTier", "developerTier"),
        ("Developer Tier", "developerTier"),
        ("developer", "developerTier"),
        (1, 1),
    ],
)
def test_every_spelling_of_a_training_type(given: Any, sent: Any) -> None:
    assert training_type(given) == sent
    assert AzureParams(training_type=given).training_type == sent


def problems(spec: JobSpec, **settings: Any) -> dict[str, str]:
    backend = make_backend(**settings)
    found = backend.validate(spec)
    assert all(problem.fix for problem in found)
    return {problem.field: f"{problem.message}; {problem.fix}" for problem in found}


def test_a_good_job_has_no_problem(spec: JobSpec) -> None:
    assert problems(spec) == {}
    assert problems(replace(spec, base_model=TUNED)) == {}


def test_an_unknown_training_type_is_told_with_the_known_ones(spec: JobSpec) -> None:
    found = problems(replace(spec, hyperparameters={"training_type": "cheap"}))
    assert "GlobalStandard or developerTier" in found["hyperparameters.training_type"]


def test_a_tier_that_the_model_is_not_trained_in(spec: JobSpec) -> None:
    old = replace(spec, base_model="gpt-35-turbo-0125")
    assert "not trained in GlobalStandard" in problems(old)["hyperparameters.training_type"]
    assert problems(old, training_type="standard") == {}


@pytest.mark.parametrize("base", ["gpt-4o-mini-2024-07-18", TUNED])
def test_dpo_is_refused_before_upload_where_the_model_has_it_not(spec: JobSpec, base: str) -> None:
    found = problems(replace(spec, base_model=base, method="dpo"))
    assert "cannot be trained by dpo" in found["base_model"]
    able = replace(spec, base_model="gpt-4.1-mini-2025-04-14", method="dpo")
    chosen = {"beta": 0.1, "l2_multiplier": 0.1}
    assert problems(replace(able, hyperparameters=chosen)) == {}
    assert "hyperparameters.beta" in problems(replace(spec, hyperparameters={"beta": 0.1}))


def test_reinforcement_is_not_done_here(spec: JobSpec) -> None:
    found = problems(replace(spec, base_model="o4-mini-2025-04-16", method="reinforcement"))
    assert set(found) == {"method"}


@pytest.mark.parametrize(
    ("surface", "length", "good"),
    [("classic", 40, True), ("classic", 41, False), ("v1", 64, True), ("v1", 65, False)],
)
def test_the_length_of_a_suffix(spec: JobSpec, surface: str, length: int, *, good: bool) -> None:
    found = problems(replace(spec, suffix="s" * length), surface=surface)
    assert ("suffix" not in found) == good


def test_a_suffix_has_no_dots(spec: JobSpec) -> None:
    assert "no dots" in problems(replace(spec, suffix="v1.2"))["suffix"]


def test_tokens_times_epochs_stay_under_two_billion(spec: JobSpec) -> None:
    big = replace(spec, training=replace(spec.training, tokens=1_000_000_001))
    assert "2,000,000,000" in problems(big)["training"]


def test_a_file_over_the_limit(spec: JobSpec) -> None:
    big = replace(spec, training=replace(spec.training, bytes=512 * 1000**2))
    assert "Azure OpenAI takes" in problems(big)["training"]


def test_the_estimate_says_the_tier(spec: JobSpec) -> None:
    backend = make_backend()
    assert backend.estimate(spec).tier == "GlobalStandard"
    developer = replace(spec, hyperparameters={"training_type": "developer", "n_epochs": 2})
    made = backend.estimate(developer)
    assert (made.tier, made.tokens) == ("developerTier", spec.training.tokens * 2)
    assert backend.estimate(replace(spec, hyperparameters={"training_type": 1})).tier is None


def test_the_base_of_a_fine_tune() -> None:
    assert base_model(TUNED) == "gpt-4o-mini-2024-07-18"
    assert base_model("gpt-4.1-2025-04-14") == "gpt-4.1-2025-04-14"
