"""The v2 list of observations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.langfuse import filters
from understudy_sandbox.langfuse.faults import parses
from understudy_sandbox.langfuse.times import asked, millis
from understudy_sandbox.langfuse.views import groups_of, shown, whole
from understudy_sandbox.routes.langfuse.face import LANGFUSE
from understudy_sandbox.routes.langfuse.shared import (
    FOREVER,
    cursor_of,
    names,
    place_of,
    rules_of,
    whole_number,
)
from understudy_sandbox.server import Operation

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc

_EQUAL = ("name", "userId", "sessionId", "type", "traceId", "level", "version")


def _simple(request: Request) -> Callable[[Doc], bool]:
    query = request.query_params
    equal = {name: query[name] for name in _EQUAL if query.get(name)}
    environments = set(query.getlist("environment"))
    parent, root = query.get("parentObservationId"), query.get("isRootObservation")

    def fits(doc: Doc) -> bool:
        return (
            all(doc[name] == value for name, value in equal.items())
            and (not environments or doc["environment"] in environments)
            and (parent is None or (doc["parentObservationId"] or "") == parent)
            and (root is None or doc["isRootObservation"] is (root == "true"))
        )

    return fits


async def listed(provider: Provider, request: Request) -> Response:
    """GET /api/public/v2/observations: the latest start first, by cursor."""
    query = request.query_params
    if query.get("parseIoAsJson") == "true":
        raise ApiError(400, "parseIoAsJson is retired: input and output are texts. Leave it out.")
    limit = whole_number(request, "limit", usual=50, most=1000)
    groups, expand = groups_of(query.get("fields")), names(request, "expandMetadata") or frozenset()
    # The structured filter takes the place of all simple ones, the window of time included.
    only = query.get("filter")
    fits = filters.parse(only) if only else _simple(request)
    since = 0 if only else asked(query.get("fromStartTime"), "fromStartTime", 0)
    until = FOREVER if only else asked(query.get("toStartTime"), "toStartTime", FOREVER)
    found = provider.langfuse.observations(before=place_of(request), since=since, until=until)
    page: list[Doc] = []
    for stored, trace in found:
        doc = whole(stored, trace)
        if fits(doc):
            page.append(doc)
            if len(page) > limit:
                break
    meta = {}
    if len(page) > limit:
        last = page[limit - 1]
        meta["cursor"] = cursor_of((millis(last["startTime"]), last["traceId"], last["id"]))
    parsed = parses(rules_of(request))
    data = [shown(doc, groups, expand, parsed=parsed) for doc in page[:limit]]
    return json_response({"data": data, "meta": meta})


OPERATIONS = (
    Operation(
        name="langfuse.observations.list",
        method="GET",
        path="/api/public/v2/observations",
        handler=listed,
        face=LANGFUSE,
    ),
)
