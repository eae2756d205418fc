"""Scores: what may be one, and how the list shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy_sandbox.errors import ApiError
from understudy_sandbox.langfuse.times import iso, millis
from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from understudy_sandbox.state import Doc

_SUBJECTS = {"traceId": "trace", "sessionId": "session", "datasetRunId": "experiment"}
_TEXTUAL = frozenset({"CATEGORICAL", "TEXT", "CORRECTION"})


class _Score(BaseModel):
    model_config = ConfigDict(extra="ignore")
    id: str | None = None
    traceId: str | None = None  # noqa: N815 - names of the wire, here and below
    sessionId: str | None = None  # noqa: N815
    observationId: str | None = None  # noqa: N815
    datasetRunId: str | None = None  # noqa: N815
    name: Annotated[str, Field(min_length=1)]
    value: bool | float | str
    comment: str | None = None
    metadata: Any = None
    environment: str | None = None
    dataType: (  # noqa: N815
        Literal["NUMERIC", "BOOLEAN", "CATEGORICAL", "TEXT", "CORRECTION"] | None
    ) = None
    configId: str | None = None  # noqa: N815
    source: Literal["API", "ANNOTATION"] | None = None
    timestamp: str | None = None


def score(body: Any, *, now: float) -> Doc:
    """A score as the store keeps it.

    Args:
        body: as it was sent.
        now: sandbox time in Unix seconds.

    Raises:
        ApiError: it is no score; the message says why.
    """
    try:
        given = _Score.model_validate(body)
        timestamp = iso(millis(given.timestamp)) if given.timestamp else iso(now * 1000)
    except ValidationError as error:
        first = error.errors()[0]
        raise ApiError(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError:
        raise ApiError(400, "timestamp: it is no ISO 8601 time") from None
    kind = given.dataType or ("CATEGORICAL" if isinstance(given.value, str) else "NUMERIC")
    return {
        "id": given.id or new_id("score-", 20),
        "projectId": "",
        "name": given.name,
        "value": _value(kind, given.value),
        "dataType": kind,
        "source": given.source or "API",
        "timestamp": timestamp,
        "environment": given.environment or "default",
        "createdAt": iso(now * 1000),
        "updatedAt": iso(now * 1000),
        "comment": given.comment,
        "configId": given.configId,
        "metadata": given.metadata if isinstance(given.metadata, dict) else None,
        "authorUserId": None,
        "queueId": None,
        "subject": _subject(given),
    }


def _subject(given: _Score) -> Doc:
    named = {field: kind for field, kind in _SUBJECTS.items() if getattr(given, field)}
    if given.observationId and given.traceId and len(named) == 1:
        return {"kind": "observation", "id": given.observationId, "traceId": given.traceId}
    if given.observationId or len(named) != 1:
        raise ApiError(
            400,
            "a score needs exactly one of traceId (with observationId or without), sessionId "
            "and datasetRunId",
        )
    field, kind = named.popitem()
    return {"kind": kind, "id": getattr(given, field)}


def _value(kind: str, value: bool | float | str) -> bool | float | str:
    if kind in _TEXTUAL:
        if not isinstance(value, str):
            raise ApiError(400, f"value: a score of type {kind} is a text")
        return value
    if isinstance(value, str):
        raise ApiError(400, f"value: a score of type {kind} is a number")
    if kind == "BOOLEAN" and value not in {0, 1}:
        raise ApiError(400, "value: a score of type BOOLEAN is 0 or 1")
    return bool(value) if kind == "BOOLEAN" else float(value)


_DETAILS = ("comment", "configId", "metadata")
_ANNOTATION = ("authorUserId", "queueId")


def shown(doc: Doc, groups: frozenset[str]) -> Doc:
    """A score with the field groups asked for: details, subject, annotation."""
    hidden = set() if "details" in groups else set(_DETAILS)
    if "subject" not in groups:
        hidden.add("subject")
    if "annotation" not in groups:
        hidden.update(_ANNOTATION)
    return {key: value for key, value in doc.items() if key not in hidden}
