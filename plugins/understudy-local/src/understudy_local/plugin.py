"""What this distribution brings to understudy: data only, nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from understudy.backend import BackendSpec, Capabilities, Support
from understudy.hookspecs import CommandSpec, PriceTable, hookimpl

CAPABILITIES = Capabilities(
    methods=("supervised", "dpo", "best_of_n_sft", "bond"),
    find=Support.yes("the job's folder is named by its key"),
    poll_many=Support.no("a look is a read of one folder; there is nothing to save"),
    cancel=Support.yes("the last checkpoint is kept"),
    pause=Support.yes("by checkpoint; the device is free meanwhile"),
    events=Support.yes(),
    checkpoints=Support.yes(),
    deploy=Support.no("its models answer from their files; nothing is deployed"),
    infer=Support.yes("by llama.cpp: exported models, GGUF files"),
    batch=Support.yes("a process that asks row by row; it saves nothing"),
    export=Support.yes("GGUF, held against the trained model"),
    estimate=Support.yes("tokens, memory, minutes, disk"),
    lifecycle=Support.no("files on your own disk do not expire"),
    listing=Support.yes(),
    # A folder is there or it is not: nothing lags.
    list_lag=0.0,
    request_timeout=30.0,
    min_rows=2,
    price_book="local",
    notes=("one job at a time on a device; the others wait their turn",),
)


@hookimpl
def understudy_backends() -> Iterator[BackendSpec]:
    """The one backend of this plugin."""
    yield BackendSpec(
        name="local",
        target="understudy_local.backend:LocalBackend",
        api=">=1,<2",
        install="pip install torch==2.13.0, then pip install 'understudy-local[train]'",
        requires=("psutil>=7", "filelock>=3.20"),
        capabilities=CAPABILITIES,
        summary="an open student, trained on this machine",
    )


@hookimpl
def understudy_commands() -> Iterator[CommandSpec]:
    """The table of students, the server."""
    yield CommandSpec(
        name="students",
        target="understudy_local.commands:students",
        help="Open models that can be trained here, and what each needs.",
    )
    yield CommandSpec(
        name="serve local",
        target="understudy_local.serving.command:serve",
        help="Serve a local model, OpenAI-compatible.",
    )


@hookimpl
def understudy_price_tables() -> Iterator[PriceTable]:
    """Nothing is paid to anyone: zero by declaration, so that no price is unknown."""
    yield PriceTable(name="local", path=str(Path(__file__).with_name("prices.toml")))
