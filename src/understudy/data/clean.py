"""Which logged calls are no good as lessons, by what the log itself says of them."""

from __future__ import annotations

from typing import Any

from understudy.data.reasons import Reason, RowError
from understudy.recipe import Cleaning

__all__ = ["check_call"]

_CUT = frozenset({"length", "content_filter", "max_tokens"})


def check_call(raw: dict[str, Any], cleaning: Cleaning) -> Any:
    """The answer of a logged call that passes the filters.

    Reasons are looked for in the order error, incomplete, truncated, flagged, low_score; the
    first one counts. A call without any answer is dropped whatever ``drop`` says.

    Raises:
        RowError: the call is dropped, or its fields are malformed.
    """
    drop = cleaning.drop
    if "error" in drop and raw.get("error") is not None:
        raise RowError(Reason.ERROR, "error", "the call failed")
    response = raw.get("response")
    if response is None:
        raise RowError(Reason.INCOMPLETE, "response", "there is no response")
    answer = response.get("message") if isinstance(response, dict) else None
    if not isinstance(answer, dict):
        raise RowError(Reason.WRONG_TYPE, "response", 'must be {"message": {...}} or null')
    if "incomplete" in drop and _says_nothing(answer):
        raise RowError(Reason.INCOMPLETE, "response.message", "the answer is empty")
    finish = response.get("finish_reason")
    if "truncated" in drop and isinstance(finish, str) and finish in _CUT:
        raise RowError(Reason.TRUNCATED, "response.finish_reason", "the answer was cut off")
    flags = raw.get("flags")
    if flags is not None and not isinstance(flags, list):
        raise RowError(Reason.WRONG_TYPE, "flags", "must be a list of strings")
    if "flagged" in drop and flags:
        raise RowError(Reason.FLAGGED, "flags", "somebody flagged the answer")
    _check_scores(raw.get("scores"), cleaning.min_score)
    return answer


def _says_nothing(answer: dict[str, Any]) -> bool:
    if answer.get("tool_calls") or answer.get("function_call") or answer.get("refusal"):
        return False
    content = answer.get("content")
    return content is None or content == [] or (isinstance(content, str) and not content.strip())


def _check_scores(scores: Any, least: dict[str, float]) -> None:
    if scores is None:
        return
    if not isinstance(scores, dict):
        raise RowError(Reason.WRONG_TYPE, "scores", "must be an object of numbers")
    for name, bound in least.items():
        value = scores.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RowError(Reason.WRONG_TYPE, f"scores.{name}", "must be a number")
        if value < bound:
            raise RowError(Reason.LOW_SCORE, f"scores.{name}", f"is below {bound:g}")
