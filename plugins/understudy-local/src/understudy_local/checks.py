"""Why a job cannot work here, found before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from understudy.errors import NotFound
from understudy.model import JobSpec, Problem
from understudy_local import estimate
from understudy_local.devices import kind_of, slots_of
from understudy_local.params import METHODS, LocalParams, check_hyperparameters
from understudy_local.plugin import CAPABILITIES
from understudy_local.settings import LocalSettings
from understudy_local.students import Source, locate

__all__ = ["problems"]


def problems(spec: JobSpec, settings: LocalSettings) -> list[Problem]:
    """All that is wrong with ``spec`` on this machine; empty if nothing is."""
    params, found = check_hyperparameters(spec)
    found += [*_method(spec), *_rows(spec), *_machine(params, settings)]
    try:
        source = locate(spec.base_model)
    except NotFound as error:
        return [*found, Problem(field="base_model", message=str(error), fix=_students())]
    found += [*_student(source, settings)]
    return found or [*estimate.shortage(spec, params, source, settings)]


def _students() -> str:
    return "`understudy students` lists those that can be trained"


def _method(spec: JobSpec) -> Iterator[Problem]:
    if spec.method not in METHODS:
        yield Problem(
            field="method",
            message=f"{spec.method!r} cannot be trained on this machine",
            fix=f"use one of: {', '.join(METHODS)}",
        )
    if spec.integrations:
        yield Problem(
            field="integrations",
            message="a local job reports to nobody else",
            fix="leave them out; the training log is in `understudy jobs events`",
        )


def _rows(spec: JobSpec) -> Iterator[Problem]:
    least = CAPABILITIES.min_rows
    if spec.training.rows < least:
        yield Problem(
            field="training",
            message=f"{spec.training.rows} rows, {least} or more are needed",
            fix="add rows, or drop fewer in cleaning",
        )


def _machine(params: LocalParams, settings: LocalSettings) -> Iterator[Problem]:
    kind = kind_of(settings.device)
    if params.quantize != "none":
        if kind != "cuda":
            yield Problem(
                field="hyperparameters.quantize",
                message=f"{params.quantize} needs a CUDA GPU, and this trains on the CPU",
                fix='set quantize = "none", or take a smaller student',
            )
        elif find_spec("bitsandbytes") is None:
            yield Problem(
                field="hyperparameters.quantize",
                message=f"{params.quantize} needs bitsandbytes, which is not installed",
                fix="pip install bitsandbytes",
            )
    have = len(slots_of(kind))
    if params.gpus > 1 and params.gpus > have:
        here = f"{have} GPUs" if kind == "cuda" else "no GPU"
        yield Problem(
            field="hyperparameters.gpus",
            message=f"{params.gpus} GPUs are asked for, this machine has {here}",
            fix="lower gpus",
        )
    if params.packing and kind == "cuda" and find_spec("flash_attn") is None:
        # Without it each row would see its neighbours in the sequence, or much slower kernels run.
        yield Problem(
            field="hyperparameters.packing",
            message="packing on a GPU needs flash-attn, which is not installed",
            fix="pip install flash-attn, or leave packing out",
        )


def _student(source: Source, settings: LocalSettings) -> Iterator[Problem]:
    gated = source.student is not None and source.student.gated
    if source.kind == "hub" and gated and not settings.hf_token and not settings.offline:
        yield Problem(
            field="base_model",
            message=f"{source.at} is gated: the hub gives it only to accounts that took its terms",
            fix="accept its licence on its page, then set HF_TOKEN to a token that may read it",
        )
    if source.kind == "gguf" and find_spec("gguf") is None:
        yield Problem(
            field="base_model",
            message="reading a GGUF file needs the package gguf, which is not installed",
            fix="pip install 'understudy-local[gguf]'",
        )
