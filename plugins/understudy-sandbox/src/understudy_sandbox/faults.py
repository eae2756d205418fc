"""The fault script: which rule fires when, kept with its counters across restarts."""

from __future__ import annotations

import threading
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

if TYPE_CHECKING:
    from understudy_sandbox.state import State

Kind = Literal[
    "error",
    "error_after",
    "hold_before",
    "hold_after",
    "drop",
    "drop_after",
    "truncate",
    "list_lag",
    "status",
    "fail_job",
    "cancel_job",
    "not_eligible",
    "quota",
    "too_many_jobs",
    "expire_key",
    "retire",
    "cancel_batch",
    "empty_error_file",
    "expire_batch",
    "expire_files",
    "fail_rows",
    "filter_rows",
    "lose_rows",
    "no_output_file",
    "no_usage",
    "over_quota",
    "reorder_rows",
    "truncate_output",
    "zero_counts",
    "garbled_body",
    "echo_key",
    "azure_content_filter",
    "azure_deploy_fails",
    "azure_expired_token",
    "azure_iso_dates",
    "azure_negative_tokens",
    "azure_no_capacity",
    "azure_no_role",
    "azure_quota",
    "azure_status_case",
    "azure_value_lists",
    "langfuse_late",
    "langfuse_old_server",
    "langfuse_parsed_io",
]


class Rule(BaseModel):
    """One line of a fault script; README.md says what each kind does.

    Attributes:
        on: operation name, with ``*`` as a wildcard.
        do: the kind of fault.
        after: matches to let pass first.
        times: how often to fire; None is for ever.
        status: HTTP status of an error.
        code, type, message: of an error or a failed job.
        retry_after: seconds for the ``retry-after`` header.
        seconds: sandbox seconds of a list lag, of an observation's lateness, or from a
            deployment's creation to its failure.
        value: the raw status to show.
        at: share of the running time at which a job or batch meets its fate.
        model: the model to retire; the name of the quota that is used up.
        fraction: share of a batch that is done before it expires; share of rows that are lost,
            fail or are filtered; share of an output file that is left.
    """

    model_config = ConfigDict(extra="forbid")
    on: str = "*"
    do: Kind
    after: Annotated[int, Field(ge=0)] = 0
    times: Annotated[int, Field(ge=1)] | None = 1
    status: Annotated[int, Field(ge=400, le=599)] = 500
    code: str | None = None
    type: str | None = None
    message: str | None = None
    retry_after: float | None = None
    seconds: float = 30.0
    value: str = "fancy_new_status"
    at: Annotated[float, Field(ge=0, le=1)] = 0.0
    model: str | None = None
    fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    seen: int = 0
    hits: int = 0

    def of_batch(self) -> dict[str, Any]:
        """What a batch keeps of a rule that fired when it was created."""
        return self.model_dump(include={"fraction", "at", "status", "code", "type", "message"})


RULES = TypeAdapter(list[Rule])


class Faults:
    """Rules in order; several may fire on one request."""

    def __init__(self, state: State, rules: tuple[dict[str, Any], ...]) -> None:
        self._state = state
        self._lock = threading.Lock()
        kept = state.setting("faults")
        self._rules = RULES.validate_python(list(rules) if kept is None else kept)
        self.key_expired = bool(state.setting("key_expired"))

    def replace(self, rules: Any) -> None:
        """Put a new script in place; an expired key is valid again.

        Raises:
            pydantic.ValidationError: a rule is not one.
        """
        with self._lock:
            self._rules = RULES.validate_python(rules)
            self._keep()
        self.expire_key(expired=False)

    def expire_key(self, *, expired: bool) -> None:
        """Refuse the API key from now on, or take it again."""
        self.key_expired = expired
        self._state.set("key_expired", expired)

    def take(self, operation: str) -> list[Rule]:
        """The rules that fire on a request, counted."""
        fired = []
        with self._lock:
            for rule in self._rules:
                if not fnmatchcase(operation, rule.on):
                    continue
                rule.seen += 1
                if rule.seen > rule.after and (rule.times is None or rule.hits < rule.times):
                    rule.hits += 1
                    fired.append(rule)
            if fired:
                self._keep()
        return fired

    def shown(self) -> list[dict[str, Any]]:
        """The rules with their counters, without what was left at its default."""
        return [
            {**r.model_dump(exclude_defaults=True), "seen": r.seen, "hits": r.hits}
            for r in self._rules
        ]

    def _keep(self) -> None:
        self._state.set("faults", [r.model_dump() for r in self._rules])
