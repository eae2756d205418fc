"""Asking by batch: plans, shards, the account, and precompute.

``make_plan`` turns a recipe into shards, ``estimate`` says what they cost, ``start`` submits them;
from there on the engine's worker drives them (see docs/decisions/0009-precompute-in-shards.md).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.batch.estimating import PrecomputeEstimate, estimate
    from understudy.batch.inputs import spool
    from understudy.batch.plans import Plan, make_plan
    from understudy.batch.questions import Questions
    from understudy.batch.recipe import PrecomputeRecipe, load_precompute
    from understudy.batch.reports import RunReport, run_report, run_reports
    from understudy.batch.runs import cancel, publish_anyway, retry, start

__all__ = [
    "Plan",
    "PrecomputeEstimate",
    "PrecomputeRecipe",
    "Questions",
    "RunReport",
    "cancel",
    "estimate",
    "load_precompute",
    "make_plan",
    "publish_anyway",
    "retry",
    "run_report",
    "run_reports",
    "spool",
    "start",
]

_HOME = {
    "estimating": "PrecomputeEstimate estimate",
    "inputs": "spool",
    "plans": "Plan make_plan",
    "questions": "Questions",
    "recipe": "PrecomputeRecipe load_precompute",
    "reports": "RunReport run_report run_reports",
    "runs": "cancel publish_anyway retry start",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    # Templates, schemas and remote files are imported by those who use them.
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
