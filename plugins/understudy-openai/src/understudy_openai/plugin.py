"""What Understudy is told at start-up: data only, no import of the SDK."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.backend import BackendSpec, Capabilities, Support
from understudy.hookspecs import hookimpl
from understudy_openai.batch_limits import LIMITS

CAPABILITIES = Capabilities(
    methods=("supervised", "dpo", "reinforcement"),
    find=Support.yes("by the metadata of the job, else by its training file"),
    poll_many=Support.yes("100 jobs a request"),
    cancel=Support.yes(),
    pause=Support.yes(),
    events=Support.yes(),
    checkpoints=Support.yes(),
    deploy=Support.no("models answer at once; OpenAI has no deployments"),
    infer=Support.yes(),
    batch=Support.yes("fine-tunes too; half price, 24 h"),
    export=Support.no("OpenAI does not give weights away"),
    estimate=Support.yes("supervised and dpo; reinforcement is billed by the hour"),
    lifecycle=Support.yes("shutdown_date of GET /v1/models/{model}"),
    listing=Support.yes(),
    list_lag=30.0,
    request_timeout=60.0,
    min_rows=10,
    max_row_tokens=65_536,
    max_file_bytes=8 * 1024**3,
    price_book="openai",
    batch_limits=LIMITS,
    notes=(
        "OpenAI takes no new jobs from 2027-01-06; idle organisations cannot start any",
        "base_url makes it drive any OpenAI-compatible fine-tuning server",
    ),
)


@hookimpl
def understudy_backends() -> Iterator[BackendSpec]:
    """The one backend of this plugin."""
    yield BackendSpec(
        name="openai",
        target="understudy_openai.backend:OpenAIBackend",
        api=">=1,<2",
        install="pip install understudy-openai",
        requires=("openai>=3",),
        capabilities=CAPABILITIES,
        summary="OpenAI fine-tuning, or any server that speaks its wire",
    )
