"""Every operation of Azure's planes."""

from __future__ import annotations

from understudy_sandbox.routes.azure import (
    arm,
    batches,
    entra,
    files,
    inference,
    jobs,
    metrics,
    models,
    places,
)

OPERATIONS = (
    *places.data_plane(
        files.ROUTES + jobs.ROUTES + models.ROUTES + batches.ROUTES + inference.ROUTES
    ),
    *arm.OPERATIONS,
    *metrics.OPERATIONS,
    *entra.OPERATIONS,
    *places.nowhere(),
)
