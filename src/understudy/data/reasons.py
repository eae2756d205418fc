"""Why a row is not in a dataset: one code for each reason, stable, for reports and filters."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["CLEANING", "Reason", "RowError"]


class Reason(StrEnum):
    """The codes that ``rejected.jsonl`` and the manifest use."""

    BROKEN_JSON = "broken_json"
    NOT_UTF8 = "not_utf8"
    LINE_TOO_BIG = "line_too_big"
    NUL_CHARACTER = "nul_character"
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_FIELD = "unknown_field"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    NO_MESSAGES = "no_messages"
    UNKNOWN_ROLE = "unknown_role"
    MISSING_ANSWER = "missing_answer"
    ASSISTANT_ONLY = "assistant_only"
    EMPTY_CONTENT = "empty_content"
    UNSUPPORTED_CONTENT = "unsupported_content"
    REFUSAL = "refusal"
    BAD_WEIGHT = "bad_weight"
    BAD_TOOLS = "bad_tools"
    BAD_TOOL_CALL = "bad_tool_call"
    UNMATCHED_TOOL_CALL = "unmatched_tool_call"
    UNANSWERED_TOOL_CALL = "unanswered_tool_call"
    SAME_ANSWERS = "same_answers"
    BAD_TRACE = "bad_trace"

    TRUNCATED = "truncated"
    FLAGGED = "flagged"
    INCOMPLETE = "incomplete"
    ERROR = "error"
    LOW_SCORE = "low_score"
    TOO_LONG = "too_long"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    HELD_OUT = "held_out"


CLEANING = frozenset(
    {
        Reason.TRUNCATED,
        Reason.FLAGGED,
        Reason.INCOMPLETE,
        Reason.ERROR,
        Reason.LOW_SCORE,
        Reason.TOO_LONG,
        Reason.DUPLICATE,
        Reason.NEAR_DUPLICATE,
        Reason.HELD_OUT,
    }
)
"""Reasons that drop a well-formed row, beside the names of filters; the others reject a malformed
one."""


class RowError(Exception):
    """One row cannot be used. Never leaves ``data``: it becomes a line of ``rejected.jsonl``.

    Args:
        reason: the code, or that of a filter.
        field: dotted path into the row, "" for the row itself.
        message: what is wrong and what to do about it.
    """

    def __init__(self, reason: Reason | str, field: str, message: str) -> None:
        self.reason, self.field, self.message = reason, field, message
        super().__init__(reason, field, message)
