"""The structured filter of lists: conditions over an observation's columns."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from understudy_sandbox.errors import ApiError
from understudy_sandbox.langfuse.times import millis

if TYPE_CHECKING:
    from understudy_sandbox.state import Doc

Predicate: TypeAlias = Callable[["Doc"], bool]


class Condition(BaseModel):
    """One condition; all must hold."""

    model_config = ConfigDict(extra="forbid")
    type: str
    column: str
    operator: str
    value: Any = None
    key: str | None = None


_CONDITIONS = TypeAdapter(list[Condition])
_SAME = [
    "id",
    "type",
    "name",
    "traceId",
    "startTime",
    "endTime",
    "environment",
    "level",
    "statusMessage",
    "version",
    "userId",
    "sessionId",
    "isRootObservation",
    "traceName",
    "tags",
    "model",
    "promptName",
    "promptVersion",
    "input",
    "output",
    "metadata",
    "totalCost",
]
_COLUMNS: dict[str, Callable[[Doc], Any]] = {
    **{name: operator.itemgetter(name) for name in _SAME},
    "traceTags": operator.itemgetter("tags"),
    "providedModelName": operator.itemgetter("model"),
    "latency": operator.itemgetter("latency"),
    "inputTokens": lambda doc: doc["usageDetails"].get("input"),
    "outputTokens": lambda doc: doc["usageDetails"].get("output"),
    "totalTokens": lambda doc: doc["usageDetails"].get("total"),
    "tokens": lambda doc: doc["usageDetails"].get("total"),
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_TEXT: dict[str, Callable[[str, str], bool]] = {
    "=": operator.eq,
    "contains": lambda text, part: part in text,
    "does not contain": lambda text, part: part not in text,
    "starts with": str.startswith,
    "ends with": str.endswith,
    "matches": lambda text, part: part.lower() in text.lower(),
}
_OPTIONS: dict[str, Callable[[set[Any], set[Any]], bool]] = {
    "any of": lambda found, wanted: bool(found & wanted),
    "none of": lambda found, wanted: not found & wanted,
    "all of": lambda found, wanted: wanted <= found,
}
_OPERATORS: dict[str, dict[str, Any]] = {
    "datetime": _COMPARE,
    "number": _COMPARE,
    "numberObject": _COMPARE,
    "boolean": _COMPARE,
    "string": _TEXT,
    "stringObject": _TEXT,
    "stringOptions": _OPTIONS,
    "categoryOptions": _OPTIONS,
    "arrayOptions": _OPTIONS,
    "null": {
        "is null": lambda found, _: found is None,
        "is not null": lambda found, _: found is not None,
    },
}


def parse(text: str) -> Predicate:
    """The filter of a request.

    Raises:
        ApiError: it is no list of conditions, or one of them cannot be.
    """
    try:
        conditions = _CONDITIONS.validate_python(orjson.loads(text))
        tests = [_test(condition) for condition in conditions]
    except (orjson.JSONDecodeError, ValidationError, ValueError, TypeError) as error:
        raise ApiError(400, f"filter: {str(error).splitlines()[0]}") from None
    return lambda doc: all(test(doc) for test in tests)


def _test(condition: Condition) -> Predicate:
    column = _COLUMNS.get(condition.column)
    compare = _OPERATORS.get(condition.type, {}).get(condition.operator)
    if column is None:
        raise ApiError(400, f"filter: there is no column {condition.column!r}")
    if compare is None:
        raise ApiError(
            400, f"filter: type {condition.type!r} has no operator {condition.operator!r}"
        )
    if condition.type.endswith("Object") and condition.key is None:
        raise ApiError(400, f"filter: type {condition.type!r} needs a key")
    wanted = condition.value
    if condition.type == "datetime":
        wanted = millis(wanted)
    if compare in _OPTIONS.values():
        wanted = set(wanted)
    return lambda doc: _holds(condition, column(doc), compare, wanted)


def _holds(condition: Condition, found: Any, compare: Callable[..., bool], wanted: Any) -> bool:
    if condition.key is not None:
        found = (found or {}).get(condition.key)
    if condition.type == "null":
        return compare(found, None)
    if compare in _OPTIONS.values():
        listed = found if isinstance(found, list) else [] if found is None else [found]
        return compare(set(listed), wanted)
    if found is None:
        return condition.operator == "does not contain"
    if condition.type == "datetime":
        found = millis(found)
    if condition.type.startswith("string"):
        found = found if isinstance(found, str) else orjson.dumps(found).decode()
    return bool(compare(found, wanted))
