"""Exit codes of every command.

===  =====================================================================
  0  done; where a job is shown: it is ready, or on its way
  1  something unexpected; UNDERSTUDY_DEBUG=1 shows the traceback
  2  the command line, a setting, a recipe or a plugin cannot work
  3  bad input data
  4  a provider refused or failed, or a doctor's check did
  5  the budget does not allow it; nothing was sent
  6  the job needs attention
  7  the student was rejected: its verdict fell short
  8  the job failed at the provider
  9  the job was cancelled
130  interrupted
===  =====================================================================
"""

from __future__ import annotations

from enum import IntEnum

from understudy.errors import (
    BackendError,
    BudgetExceeded,
    ConfigError,
    DataError,
    IllegalTransition,
    PluginError,
)
from understudy.states import State

__all__ = ["ExitCode", "code_for_error", "code_for_state"]


class ExitCode(IntEnum):
    """What a process says when it ends."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    BAD_DATA = 3
    BACKEND = 4
    BUDGET = 5
    ATTENTION = 6
    REJECTED = 7
    JOB_FAILED = 8
    JOB_CANCELLED = 9
    INTERRUPTED = 130


_ERRORS: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (ConfigError, ExitCode.USAGE),
    (PluginError, ExitCode.USAGE),
    (IllegalTransition, ExitCode.USAGE),
    (DataError, ExitCode.BAD_DATA),
    (BackendError, ExitCode.BACKEND),
    (BudgetExceeded, ExitCode.BUDGET),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
)

_STATES = {
    State.NEEDS_ATTENTION: ExitCode.ATTENTION,
    State.REJECTED: ExitCode.REJECTED,
    State.FAILED: ExitCode.JOB_FAILED,
    State.CANCELLED: ExitCode.JOB_CANCELLED,
}


def code_for_error(error: BaseException) -> ExitCode:
    """The exit code of a command that ended with ``error``."""
    for kind, code in _ERRORS:
        if isinstance(error, kind):
            return code
    return ExitCode.UNEXPECTED


def code_for_state(state: State) -> ExitCode:
    """The exit code of a command that followed a job into ``state``; live states are well."""
    return _STATES.get(state, ExitCode.OK)
