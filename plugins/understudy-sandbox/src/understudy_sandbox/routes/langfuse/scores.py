"""Scores: made one by one or in a list, read by cursor, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.langfuse.scoring import score, shown
from understudy_sandbox.langfuse.times import asked, millis
from understudy_sandbox.langfuse.views import PROJECT
from understudy_sandbox.routes.langfuse.face import LANGFUSE
from understudy_sandbox.routes.langfuse.shared import (
    FOREVER,
    cursor_of,
    json_of,
    names,
    place_of,
    whole_number,
)
from understudy_sandbox.server import Operation

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc

_GROUPS = frozenset({"details", "subject", "annotation"})
_EXACT = (
    "id",
    "name",
    "environment",
    "configId",
    "observationId",
    "traceId",
    "sessionId",
    "experimentId",
)
_FOLDED = ("source", "dataType")


async def create(provider: Provider, request: Request) -> Response:
    """POST /api/public/scores: a list is accepted as a whole or in part, one is answered by id."""
    body = await json_of(request)
    now = provider.clock.now()
    if not isinstance(body, list):
        made = score(body, now=now)
        provider.langfuse.put_score(made)
        return json_response({"id": made["id"]})
    errors: list[dict[str, Any]] = []
    for one in body:
        try:
            provider.langfuse.put_score(score(one, now=now))
        except ApiError as error:
            errors.append({"message": str(error)})
    if errors:
        counts = {"accepted": len(body) - len(errors), "rejected": len(errors)}
        return json_response({**counts, "errors": errors}, status=207)
    return json_response({"message": "Accepted"}, status=202)


def _fields(doc: Doc) -> dict[str, Any]:
    """What the list can be asked for, by the parameter's name."""
    subject = doc["subject"]
    kind, name = subject["kind"], subject["id"]
    return {
        **{field: doc[field] for field in ("id", "name", "environment", "configId")},
        "source": doc["source"].upper(),
        "dataType": doc["dataType"],
        "observationId": name if kind == "observation" else None,
        "traceId": name if kind == "trace" else subject.get("traceId"),
        "sessionId": name if kind == "session" else None,
        "experimentId": name if kind == "experiment" else None,
    }


def _wanted(request: Request) -> dict[str, frozenset[str]]:
    found = {name: names(request, name) for name in (*_EXACT, *_FOLDED)}
    exact = {name: found[name] for name in _EXACT}
    folded = {
        name: None if found[name] is None else frozenset(one.upper() for one in found[name] or ())
        for name in _FOLDED
    }
    return {name: values for name, values in (exact | folded).items() if values is not None}


async def listed(provider: Provider, request: Request) -> Response:
    """GET /api/public/v3/scores: the latest first."""
    query = request.query_params
    groups = names(request, "fields") or frozenset()
    if groups - _GROUPS:
        raise ApiError(400, f"fields: there is no group {min(groups - _GROUPS)!r}.")
    if query.get("observationId") and not query.get("traceId"):
        raise ApiError(400, "observationId needs traceId: ids of observations are a trace's own.")
    limit = whole_number(request, "limit", usual=50, most=100)
    found = provider.langfuse.scores(
        before=place_of(request),
        since=asked(query.get("fromTimestamp"), "fromTimestamp", 0),
        until=asked(query.get("toTimestamp"), "toTimestamp", FOREVER),
    )
    wanted = _wanted(request)
    page: list[Doc] = []
    for doc in found:
        fields = _fields(doc)
        if all(fields[name] in values for name, values in wanted.items()):
            page.append(doc | {"projectId": PROJECT})
            if len(page) > limit:
                break
    meta: dict[str, Any] = {"limit": limit}
    if len(page) > limit:
        last = page[limit - 1]
        meta["cursor"] = cursor_of((millis(last["timestamp"]), "", last["id"]))
    return json_response({"data": [shown(doc, groups) for doc in page[:limit]], "meta": meta})


async def delete(provider: Provider, request: Request) -> Response:
    """DELETE /api/public/scores/{score}."""
    name = request.path_params["score"]
    if not provider.langfuse.delete_score(name):
        raise ApiError(404, f"There is no score {name}.")
    return json_response({"message": "Score deleted"}, status=202)


OPERATIONS = (
    Operation(
        name="langfuse.scores.create",
        method="POST",
        path="/api/public/scores",
        handler=create,
        face=LANGFUSE,
    ),
    Operation(
        name="langfuse.scores.list",
        method="GET",
        path="/api/public/v3/scores",
        handler=listed,
        face=LANGFUSE,
    ),
    Operation(
        name="langfuse.scores.delete",
        method="DELETE",
        path="/api/public/scores/{score}",
        handler=delete,
        face=LANGFUSE,
    ),
)
