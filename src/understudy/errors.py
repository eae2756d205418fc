# ruff: noqa: N818 - the names are the words of the field: RateLimited, BudgetExceeded
"""Every error that Understudy raises on purpose.

::

    UnderstudyError
    ├── ConfigError                  a setting, recipe or command line that cannot work
    ├── DataError                    bad input; knows file, line and field
    ├── PluginError
    │   ├── PluginLoadError          a plugin broke while it was loaded
    │   ├── PluginConflictError      two plugins claim one name
    │   └── PluginApiError           a plugin was written for another version of the contract
    ├── BackendError
    │   ├── TerminalError            asking again changes nothing
    │   │   ├── AuthError            key or token refused
    │   │   ├── NotEligible     the account may not do this
    │   │   ├── InvalidData     the provider refused the request or the rows
    │   │   ├── QuotaError           money or quota is used up
    │   │   ├── NotFound        the thing is not there (any more)
    │   │   └── Retired         the model is shut down or about to be
    │   ├── TransientError           asking again later may work
    │   │   ├── AnswersPending  the questions are under way by batch
    │   │   ├── RateLimited     with ``retry_after`` seconds
    │   │   └── Unavailable     network or server trouble
    │   └── OutcomeUnknown      a paid request may or may not have taken effect
    ├── IllegalTransition       an event that the state machine has no arrow for
    ├── StaleRecord             somebody else changed the record, or the lease is lost
    └── BudgetExceeded          the money asked for is more than is left

Every message says what happened, to what, and what to do next. All of them survive pickling.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

__all__ = [
    "AnswersPending",
    "AuthError",
    "BackendError",
    "BudgetExceeded",
    "ConfigError",
    "DataError",
    "IllegalTransition",
    "InvalidData",
    "NotEligible",
    "NotFound",
    "OutcomeUnknown",
    "PluginApiError",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "QuotaError",
    "RateLimited",
    "Retired",
    "StaleRecord",
    "TerminalError",
    "TransientError",
    "Unavailable",
    "UnderstudyError",
]


class UnderstudyError(Exception):
    """The root: catch this to catch everything that Understudy raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only constructors do not survive the default pickling.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    cls: type[UnderstudyError], args: tuple[Any, ...], state: dict[str, Any]
) -> UnderstudyError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(UnderstudyError, ValueError):
    """A setting, recipe or command line that cannot work."""


class DataError(UnderstudyError, ValueError):
    """Bad input, with the place where it stands.

    Args:
        message: what is wrong and what to do.
        file: the file read, if any.
        line: 1-based line in it, if any.
        field: dotted path of the field, if any.
    """

    def __init__(
        self,
        message: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        self.file = None if file is None else str(file)
        self.line = line
        self.field = field
        self.reason = message
        place = ":".join(str(part) for part in (self.file, line) if part is not None)
        if field:
            place = f"{place} [{field}]" if place else f"[{field}]"
        super().__init__(f"{place}: {message}" if place else message)


class PluginError(UnderstudyError):
    """A plugin cannot be used."""


class PluginLoadError(PluginError, ImportError):
    """A plugin broke while it was loaded."""


class PluginConflictError(PluginError):
    """Two plugins claim one name."""


class PluginApiError(PluginError):
    """A plugin was written for another version of the contract."""


class BackendError(UnderstudyError):
    """Something that a provider said or did.

    Args:
        message: what happened, to what, what to do next; free of secrets.
        code: the provider's own machine-readable code, if it gave one.
        status: HTTP status, if there was one.
    """

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        self.code = code
        self.status = status
        super().__init__(message)


class TerminalError(BackendError):
    """Asking again changes nothing."""


class AuthError(TerminalError, PermissionError):
    """The key or token was refused."""


class NotEligible(TerminalError):
    """The account may not do this at all."""


class InvalidData(TerminalError, ValueError):
    """The provider refused the request or the rows."""


class QuotaError(TerminalError):
    """Money or quota is used up."""


class NotFound(TerminalError, LookupError):
    """The thing is not there, or not there any more."""


class Retired(TerminalError):
    """The model is shut down, or will be before the work is done."""


class TransientError(BackendError):
    """Asking again later may work."""


class RateLimited(TransientError):
    """Too many requests.

    Args:
        retry_after: seconds to wait before the next try, if the provider said so.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        code: str | None = None,
        status: int | None = None,
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, code=code, status=status)


class AnswersPending(TransientError):
    """The questions were sent by batch; whoever asked is woken when the answers are there."""


class Unavailable(TransientError, ConnectionError):
    """Network or server trouble; nothing was started."""


class OutcomeUnknown(BackendError):
    """A request that starts paid work may or may not have taken effect. Never resend blindly."""


class IllegalTransition(UnderstudyError):
    """An event for which the state machine has no arrow from the present state."""


class StaleRecord(UnderstudyError):
    """Somebody else changed the record meanwhile, or this worker's lease is lost."""


def _limit(amount: Decimal) -> str:
    """A limit as it was set: never rounded to what it is not."""
    text = f"{amount:.2f}"
    return f"${text if Decimal(text) == amount else format(amount.normalize(), 'f')}"


class BudgetExceeded(UnderstudyError):
    """The money asked for is more than is left.

    Args:
        budget: name of the budget.
        limit, spent, reserved, asked: US dollars.
    """

    def __init__(
        self, *, budget: str, limit: Decimal, spent: Decimal, reserved: Decimal, asked: Decimal
    ) -> None:
        self.budget = budget
        self.limit, self.spent, self.reserved, self.asked = limit, spent, reserved, asked
        super().__init__(
            f"budget {budget!r} is {_limit(limit)}: ${spent:.4f} is spent and ${reserved:.4f} is "
            f"reserved, so ${asked:.4f} more cannot be started. Nothing was sent. Raise the "
            "budget in the recipe and run it again, or choose a smaller dataset or model."
        )
