"""The lists of experiments and of their items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.langfuse.experiments import ITEM_GROUPS, experiments, is_item, item
from understudy_sandbox.langfuse.scoring import shown
from understudy_sandbox.langfuse.times import asked
from understudy_sandbox.langfuse.views import PROJECT
from understudy_sandbox.routes.langfuse.face import LANGFUSE
from understudy_sandbox.routes.langfuse.shared import (
    FOREVER,
    cursor_of,
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

_EVERY = frozenset({"details", "subject"})


def _items(provider: Provider, request: Request) -> Iterator[Doc]:
    query = request.query_params
    if "fromStartTime" not in query:
        raise ApiError(400, "fromStartTime is required.")
    found = provider.langfuse.observations(
        before=None,
        since=asked(query["fromStartTime"], "fromStartTime", 0),
        until=asked(query.get("toStartTime"), "toStartTime", FOREVER),
        experiments=True,
    )
    return (item(doc) for doc, _ in found if is_item(doc))


def _page(request: Request, docs: list[Doc]) -> tuple[list[Doc], dict[str, Any]]:
    limit = whole_number(request, "limit", usual=50, most=100)
    place = place_of(request)
    start = place[0] if place else 0
    meta = {"cursor": cursor_of((start + limit, "", ""))} if len(docs) > start + limit else {}
    return docs[start : start + limit], meta


def _scores(provider: Provider, request: Request, subject: str) -> list[Doc]:
    most = whole_number(request, "scoreLimit", usual=50, most=50)
    found = provider.langfuse.scores_of(subject)[:most]
    return [shown(doc | {"projectId": PROJECT}, _EVERY) for doc in found]


def _wanted(request: Request, doc: Doc, fields: dict[str, str]) -> bool:
    asked_for = {parameter: names(request, parameter) for parameter in fields}
    return all(
        wanted is None or doc[fields[parameter]] in wanted
        for parameter, wanted in asked_for.items()
    )


async def listed(provider: Provider, request: Request) -> Response:
    """GET /api/public/experiments: the last active first."""
    groups = names(request, "fields") or frozenset({"core"})
    fields = {"id": "id", "name": "name", "datasetId": "datasetId"}
    every = experiments(_items(provider, request))
    docs, meta = _page(request, [doc for doc in every if _wanted(request, doc, fields)])
    for doc in docs:
        if "metadata" not in groups:
            del doc["metadata"]
        if "scores" in groups:
            doc["scores"] = _scores(provider, request, doc["id"])
    return json_response({"data": docs, "meta": meta})


async def list_items(provider: Provider, request: Request) -> Response:
    """GET /api/public/experiment-items: the latest first."""
    groups = names(request, "fields") or frozenset({"core", "dataset"})
    if groups - ITEM_GROUPS.keys():
        raise ApiError(400, f"fields: there is no group {min(groups - ITEM_GROUPS.keys())!r}.")
    fields = {
        "experimentId": "experimentId",
        "experimentName": "experimentName",
        "experimentItemId": "experimentItemId",
        "datasetId": "experimentDatasetId",
    }
    found = [doc for doc in _items(provider, request) if _wanted(request, doc, fields)]
    docs, meta = _page(request, found)
    kept = {name for group in groups | {"core"} for name in ITEM_GROUPS[group]}
    data = [{name: value for name, value in doc.items() if name in kept} for doc in docs]
    if "scores" in groups:
        for doc in data:
            doc["scores"] = [
                *_scores(provider, request, doc["id"]),
                *_scores(provider, request, doc["traceId"]),
            ]
    return json_response({"data": data, "meta": meta})


OPERATIONS = (
    Operation(
        name="langfuse.experiments.list",
        method="GET",
        path="/api/public/experiments",
        handler=listed,
        face=LANGFUSE,
    ),
    Operation(
        name="langfuse.experiments.list_items",
        method="GET",
        path="/api/public/experiment-items",
        handler=list_items,
        face=LANGFUSE,
    ),
)
