"""Labelled points at which the crash tests kill or freeze a worker. They cost one call each."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["BATCH_LABELS", "DEPLOY_LABELS", "EXPORT_LABELS", "LABELS", "Reach", "nowhere"]

Reach = Callable[[str], None]
"""Called with the label of the point that a worker has reached."""

LABELS = (
    "upload.before-intent",
    "upload.after-intent",
    "upload.before-send",
    "upload.after-reply",
    "upload.stored",
    "upload.poll",
    "train.before-intent",
    "train.after-intent",
    "train.sending-stored",
    "train.before-post",
    "train.after-reply",
    "train.stored",
    "train.poll",
    "train.before-outcome",
    "train.after-outcome",
    "register.start",
    "register.probed",
    "register.stored",
    "evaluate.start",
    "evaluate.asked",
    "evaluate.answered",
    "evaluate.scored",
    "evaluate.stored",
)

"""Reached over every backend."""

DEPLOY_LABELS = (
    "deploy.sending-stored",
    "deploy.before-post",
    "deploy.after-reply",
    "deploy.stored",
    "deploy.poll",
    "undeploy.closed",
    "undeploy.before-stop",
    "undeploy.asked",
    "undeploy.stored",
)
"""Reached over backends whose models answer through deployments alone."""

EXPORT_LABELS = (
    "export.sending-stored",
    "export.before-post",
    "export.after-reply",
    "export.stored",
    "export.poll",
    "export.judged",
    "export.proven",
)
"""Reached over backends whose models are files."""

BATCH_LABELS = (
    "batch_upload.before-send",
    "batch_upload.after-reply",
    "batch_upload.stored",
    "batch_upload.poll",
    "batch.before-intent",
    "batch.after-intent",
    "batch.sending-stored",
    "batch.before-post",
    "batch.after-reply",
    "batch.stored",
    "batch.poll",
    "batch.before-outcome",
    "batch.after-outcome",
    "batch_collect.fetched",
    "batch_collect.written",
    "batch_collect.stored",
    "batch_run.moved",
    "batch_run.put",
    "batch_run.filled",
    "batch_run.published",
)
"""Reached by runs that ask by batch and publish a generation."""


def nowhere(label: str) -> None:
    """What production does at a labelled point: nothing."""
