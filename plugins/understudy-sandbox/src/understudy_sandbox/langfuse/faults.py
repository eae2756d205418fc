"""The kinds of fault that only Langfuse has, each named ``langfuse_...``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy_sandbox.errors import ApiError

if TYPE_CHECKING:
    from understudy_sandbox.faults import Rule

OLD_VERSION = "3.38.0"
_NEW = ("langfuse.observations.", "langfuse.scores.list", "langfuse.experiments.")


def preset(rule: Rule, operation: str) -> ApiError | None:
    """The refusal of a rule, or None where it refuses nothing."""
    if rule.do == "langfuse_old_server" and operation.startswith(_NEW):
        return ApiError(404, "This page could not be found.", code="old_server")
    return None


def late(rules: list[Rule]) -> float:
    """Sandbox seconds for which what a request brings stays hidden."""
    return max((rule.seconds for rule in rules if rule.do == "langfuse_late"), default=0.0)


def parses(rules: list[Rule]) -> bool:
    """Whether input and output are to be shown as JSON values."""
    return any(rule.do == "langfuse_parsed_io" for rule in rules)


def is_old(rules: list[Rule]) -> bool:
    """Whether the server plays one from before the v2 lists."""
    return any(rule.do == "langfuse_old_server" for rule in rules)
