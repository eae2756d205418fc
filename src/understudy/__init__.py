"""Understudy: train a small model to take over a narrow job from a big one.

This is the public API. Names are imported when they are first asked for, so that
``import understudy`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.backend import (
        Backend,
        BackendSpec,
        Capabilities,
        Check,
        Params,
        Settings,
        Support,
    )
    from understudy.collecting import (
        collect_calls,
        prepare_dataset,
    )
    from understudy.config import (
        Config,
        load_config,
    )
    from understudy.engine import (
        Worker,
    )
    from understudy.errors import (
        AnswersPending,
        AuthError,
        BackendError,
        BudgetExceeded,
        ConfigError,
        DataError,
        IllegalTransition,
        InvalidData,
        NotEligible,
        NotFound,
        OutcomeUnknown,
        PluginApiError,
        PluginConflictError,
        PluginError,
        PluginLoadError,
        QuotaError,
        RateLimited,
        Retired,
        StaleRecord,
        TerminalError,
        TransientError,
        Unavailable,
        UnderstudyError,
    )
    from understudy.hookspecs import (
        API_VERSION,
        CommandSpec,
        PriceTable,
        ScorerSpec,
        hookimpl,
    )
    from understudy.model import (
        ChatReply,
        ChatRequest,
        Estimate,
        Example,
        Handle,
        JobSpec,
        ModelRef,
        RemoteState,
        RemoteStatus,
        Usage,
    )
    from understudy.pipeline import (
        Prepared,
        prepare_run,
        start_run,
    )
    from understudy.plugins import (
        PluginHost,
        PluginInfo,
    )
    from understudy.project import (
        Project,
    )
    from understudy.recipe import (
        Recipe,
        load_recipe,
    )
    from understudy.reports import (
        JobReport,
        job_report,
    )
    from understudy.states import (
        Event,
        State,
    )

__all__ = [
    "API_VERSION",
    "AnswersPending",
    "AuthError",
    "Backend",
    "BackendError",
    "BackendSpec",
    "BudgetExceeded",
    "Capabilities",
    "ChatReply",
    "ChatRequest",
    "Check",
    "CommandSpec",
    "Config",
    "ConfigError",
    "DataError",
    "Estimate",
    "Event",
    "Example",
    "Handle",
    "IllegalTransition",
    "InvalidData",
    "JobReport",
    "JobSpec",
    "ModelRef",
    "NotEligible",
    "NotFound",
    "OutcomeUnknown",
    "Params",
    "PluginApiError",
    "PluginConflictError",
    "PluginError",
    "PluginHost",
    "PluginInfo",
    "PluginLoadError",
    "Prepared",
    "PriceTable",
    "Project",
    "QuotaError",
    "RateLimited",
    "Recipe",
    "RemoteState",
    "RemoteStatus",
    "Retired",
    "ScorerSpec",
    "Settings",
    "StaleRecord",
    "State",
    "Support",
    "TerminalError",
    "TransientError",
    "Unavailable",
    "UnderstudyError",
    "Usage",
    "Worker",
    "__version__",
    "collect_calls",
    "hookimpl",
    "job_report",
    "load_config",
    "load_recipe",
    "prepare_dataset",
    "prepare_run",
    "start_run",
]

__version__ = "0.1.0"

_HOME = {
    "backend": "Backend BackendSpec Capabilities Check Params Settings Support",
    "collecting": "collect_calls prepare_dataset",
    "config": "Config load_config",
    "engine": "Worker",
    "errors": (
        "AnswersPending AuthError BackendError BudgetExceeded ConfigError DataError "
        "IllegalTransition InvalidData NotEligible NotFound OutcomeUnknown PluginApiError "
        "PluginConflictError PluginError PluginLoadError QuotaError RateLimited Retired "
        "StaleRecord TerminalError TransientError Unavailable UnderstudyError"
    ),
    "hookspecs": "API_VERSION CommandSpec PriceTable ScorerSpec hookimpl",
    "model": (
        "ChatReply ChatRequest Estimate Example Handle JobSpec ModelRef RemoteState "
        "RemoteStatus Usage"
    ),
    "pipeline": "Prepared prepare_run start_run",
    "plugins": "PluginHost PluginInfo",
    "project": "Project",
    "recipe": "Recipe load_recipe",
    "reports": "JobReport job_report",
    "states": "Event State",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'understudy' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"understudy.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
