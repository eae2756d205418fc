"""The pure mapping of Azure's data plane: only what differs from OpenAI's wire.

Statuses, files, events and checkpoints are OpenAI's (its table knows Azure's words). Here is what
is Azure's own: the tier in the body, billed tokens that stand in the events alone, dates of base
models, and answers of an imported file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from understudy.model import JobSpec, Json, Lifecycle, RemoteState, RemoteStatus
from understudy_azure.params import base_model, training_type
from understudy_openai import create_body
from understudy_openai.wire_values import mapping, text, time

__all__ = [
    "READY_FILES",
    "billed_tokens",
    "day",
    "import_body",
    "is_billed",
    "job_body",
    "lifecycle",
    "with_tokens",
]

READY_FILES = frozenset({"processed"})
"""Azure takes no job for a file that it has not taken in."""

_BILLED = re.compile(r"training tokens billed:\s*([\d,]+)", re.IGNORECASE)


def job_body(
    spec: JobSpec, *, training: str, validation: str | None, key: str, tier: str
) -> dict[str, Json]:
    """The body of the create: OpenAI's, with the tier beside it and without metadata.

    Azure keeps no metadata, and classic refuses the field; a missing tier is answered with the
    misleading *base model does not support fine-tuning*. The SDK has no argument for the tier, so
    it goes by ``extra_body``.
    """
    chosen = dict(spec.hyperparameters)
    told = chosen.pop("training_type", None)
    plain = replace(spec, hyperparameters=chosen)
    body = create_body(plain, training=training, validation=validation, key=key)
    del body["metadata"]
    return body | {"extra_body": {"trainingType": training_type(told or tier)}}


def import_body(url: str, filename: str) -> dict[str, str]:
    """The body of ``POST /files/import``: the service fetches the blob itself."""
    return {"purpose": "fine-tune", "filename": filename, "content_url": url}


def billed_tokens(newest_first: Iterable[Json]) -> int | None:
    """What the log says was billed; it stands near its end."""
    said = (text(mapping(row).get("message")) or "" for row in newest_first)
    found = next((match for words in said if (match := _BILLED.search(words))), None)
    return int(found[1].replace(",", "")) if found else None


def is_billed(status: RemoteStatus) -> bool:
    """Whether the job has ended and is paid for.

    Its ``trained_tokens`` may be null, negative, or other than what was billed: the log decides.
    """
    return status.state in {RemoteState.SUCCEEDED, RemoteState.CANCELLED}


def with_tokens(status: RemoteStatus, tokens: int | None) -> RemoteStatus:
    """``status`` with the billed tokens of the log."""
    if tokens is None:
        return status
    fields = {**status.fields, "trained_tokens": tokens}
    return replace(status, trained_tokens=tokens, fields=fields)


def day(value: Json) -> str | None:
    """An ISO day from an ISO date or seconds since the epoch; ARM and the data plane differ."""
    seconds = time(value)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).date().isoformat()


def lifecycle(body: Json, *, model: str, host: str) -> Lifecycle:
    """Dates of a base model from ``GET /models/{model}`` of the data plane."""
    dates = mapping(mapping(body).get("deprecation"))
    ends = day(dates.get("inference")) or day(mapping(body).get("shutdown_date"))
    trains = day(dates.get("fine_tune")) or day(dates.get("fineTune"))
    days = [one for one in (trains, ends) if one is not None]
    return Lifecycle(
        model=model,
        inference_until=ends,
        training_until=min(days, default=None),
        source=f"deprecation of GET /models/{base_model(text(mapping(body).get('id')) or model)} "
        f"at {host}",
    )
