"""Every operation of Langfuse's public API that the sandbox speaks."""

from __future__ import annotations

from understudy_sandbox.routes.langfuse import (
    datasets,
    experiments,
    ingestion,
    observations,
    project,
    scores,
)

OPERATIONS = (
    *project.OPERATIONS,
    *observations.OPERATIONS,
    *scores.OPERATIONS,
    *datasets.OPERATIONS,
    *experiments.OPERATIONS,
    *ingestion.OPERATIONS,
)
