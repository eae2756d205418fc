"""Hyperparameters of local training, and what can be checked of them without the machine."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from understudy.backend import Params
from understudy.model import JobSpec, Problem

__all__ = ["LEARNING_RATES", "METHODS", "LocalParams", "check_hyperparameters"]

METHODS = ("supervised", "dpo", "best_of_n_sft", "bond")
LEARNING_RATES: Mapping[str, float] = {
    # For a LoRA adapter; preference losses are steeper and want smaller steps.
    "supervised": 2e-4,
    "best_of_n_sft": 2e-4,
    "dpo": 5e-5,
    "bond": 1e-4,
}

Count = Annotated[int, Field(strict=True, ge=1)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LocalParams(Params):
    """Hyperparameters. Everything has a default that trains.

    Args:
        n_epochs: passes over the rows.
        max_steps: optimizer steps, in place of ``n_epochs``.
        batch_size: rows that go through the model at once, on each device.
        gradient_accumulation: batches that make one optimizer step.
        learning_rate: None takes the method's own (``LEARNING_RATES``).
        scheduler: how the learning rate goes on after the warm-up.
        warmup_ratio: share of the steps in which it rises.
        weight_decay: of AdamW.
        lora_rank, lora_alpha, lora_dropout: of the adapter; alpha is twice the rank by default.
        max_length: longest row in tokens; longer ones are left out and listed.
        packing: several short rows share one sequence, each seeing itself alone; supervised only.
        quantize: hold the student's own weights in 4 or 8 bits (QLoRA; needs bitsandbytes).
        gradient_checkpointing: trade time for memory.
        precision: ``auto`` computes in bfloat16 where the device has it.
        checkpoint_steps: steps between checkpoints; None makes about ten of them.
        keep_checkpoints: how many of the newest are kept.
        eval_steps: steps between looks at the validation rows; None: only for early stopping.
        early_stopping: stop after so many looks in a row without a better validation loss, and
            take the best checkpoint.
        dpo_beta: how far preference optimisation may leave the start: higher stays nearer.
        bond_beta: share of preference optimisation in ``bond``, from 0 (plain supervised) to 1.
        bond_gamma: weight of the KL to the start weights in ``bond``.
        trainer: ``auto`` takes Unsloth where it is installed and there is a CUDA GPU, else TRL.
        gpus: CUDA devices of this machine that the job takes; more than one by accelerate.
    """

    n_epochs: Annotated[int, Field(strict=True, ge=1, le=100)] = 3
    max_steps: Count | None = None
    batch_size: Annotated[int, Field(strict=True, ge=1, le=1024)] = 8
    gradient_accumulation: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    learning_rate: Positive | None = None
    scheduler: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: Share = 0.0
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    lora_rank: Annotated[int, Field(strict=True, ge=1, le=512)] = 16
    lora_alpha: Count | None = None
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_length: Annotated[int, Field(strict=True, ge=16)] = 2048
    packing: bool = False
    quantize: Literal["none", "8bit", "4bit"] = "none"
    gradient_checkpointing: bool = True
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_steps: Count | None = None
    keep_checkpoints: Annotated[int, Field(strict=True, ge=1, le=100)] = 3
    eval_steps: Count | None = None
    early_stopping: Count | None = None
    dpo_beta: Positive = 0.1
    bond_beta: Share = 0.5
    bond_gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    trainer: Literal["auto", "trl", "unsloth"] = "auto"
    gpus: Count = 1

    def rate(self, method: str) -> float:
        """The learning rate for ``method``."""
        return LEARNING_RATES[method] if self.learning_rate is None else self.learning_rate

    def steps(self, rows: int) -> int:
        """Optimizer steps over ``rows`` rows, not packed."""
        if self.max_steps is not None:
            return self.max_steps
        batches = -(-rows // (self.batch_size * self.gpus))
        return max(1, -(-batches // self.gradient_accumulation)) * self.n_epochs


_ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "dpo_beta": ("dpo", "bond"),
    "bond_beta": ("bond",),
    "bond_gamma": ("bond",),
    "packing": ("supervised", "best_of_n_sft"),
}


def check_hyperparameters(spec: JobSpec) -> tuple[LocalParams, list[Problem]]:
    """The hyperparameters as far as they are right, and what is wrong with the others."""
    known = LocalParams.model_fields
    problems = [_unknown(name, spec.method) for name in spec.hyperparameters if name not in known]
    given = {name: value for name, value in spec.hyperparameters.items() if name in known}
    problems += _misplaced(given, spec)
    try:
        return LocalParams.model_validate(given), problems
    except ValidationError as error:
        wrong: dict[str, str] = {}
        for item in error.errors():
            wrong.setdefault(str(item["loc"][0]), item["msg"])
        problems += [
            Problem(field=f"hyperparameters.{name}", message=message, fix=f"correct {name}")
            for name, message in wrong.items()
        ]
        right = {name: value for name, value in given.items() if name not in wrong}
        return LocalParams.model_validate(right), problems


def _unknown(name: str, method: str) -> Problem:
    fitting = [one for one in LocalParams.model_fields if method in _ONLY_FOR.get(one, METHODS)]
    close = difflib.get_close_matches(name, fitting, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return Problem(
        field=f"hyperparameters.{name}",
        message=f"{name!r} is not a known name",
        fix=f"{hint}valid: {', '.join(sorted(fitting))}",
    )


def _misplaced(given: Mapping[str, object], spec: JobSpec) -> Iterator[Problem]:
    for name, methods in _ONLY_FOR.items():
        if name in given and spec.method in METHODS and spec.method not in methods:
            yield Problem(
                field=f"hyperparameters.{name}",
                message=f"{name!r} does nothing in {spec.method}",
                fix=f"leave it out; it is for {' and '.join(methods)}",
            )
    looking = {"eval_steps", "early_stopping"} & set(given)
    if looking and spec.validation is None:
        name = min(looking)
        yield Problem(
            field=f"hyperparameters.{name}",
            message=f"{name!r} needs validation rows and there are none",
            fix="give split.validation a share in the recipe, or leave it out",
        )
    if "max_steps" in given and "n_epochs" in given:
        yield Problem(
            field="hyperparameters.max_steps",
            message="max_steps and n_epochs both say when to stop",
            fix="leave one of the two out",
        )
