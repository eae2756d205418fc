"""What Understudy is told at start-up: data only, no import of an SDK."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.backend import BackendSpec, Capabilities, Support
from understudy.hookspecs import hookimpl
from understudy_azure.batch_limits import LIMITS, NO_FINE_TUNES

DEFAULT_SKUS = {"evaluation": "DeveloperTier", "serving": "GlobalStandard"}
CAPABILITIES = Capabilities(
    methods=("supervised", "dpo"),
    find=Support.yes("by the training file, which is uploaded for one job alone; no metadata"),
    poll_many=Support.yes("100 jobs a request"),
    cancel=Support.yes(),
    pause=Support.yes(),
    events=Support.yes(),
    checkpoints=Support.yes(),
    deploy=Support.yes("through ARM; needs subscription_id, resource_group and a token"),
    infer=Support.yes("through a deployment"),
    batch=Support.yes(f"base models deployed as GlobalBatch or DataZoneBatch; {NO_FINE_TUNES}"),
    export=Support.no("Azure does not give weights away"),
    estimate=Support.yes("tokens and tier"),
    lifecycle=Support.yes("deprecation of ARM's models, else of the data plane's"),
    listing=Support.yes(),
    list_lag=30.0,
    request_timeout=60.0,
    min_rows=10,
    max_row_tokens=65_536,
    max_file_bytes=512 * 1000**2 - 1,
    price_book="azure",
    batch_limits=LIMITS,
    default_skus=DEFAULT_SKUS,
    notes=(
        "a deployment is billed by the hour, used or not, except in the developer tier",
        "3 jobs run at once (5 in the developer tier), 20 are queued; more are waited for",
        "the user's metadata stays in Understudy's store: Azure keeps none",
    ),
)


@hookimpl
def understudy_backends() -> Iterator[BackendSpec]:
    """The one backend of this plugin."""
    yield BackendSpec(
        name="azure",
        target="understudy_azure.backend:AzureBackend",
        api=">=1,<2",
        install="pip install understudy-azure",
        requires=("openai>=3", "azure-identity>=1.25", "azure-mgmt-cognitiveservices>=14.1"),
        capabilities=CAPABILITIES,
        summary="Azure OpenAI: fine-tuning on both surfaces, deployments through ARM",
    )
