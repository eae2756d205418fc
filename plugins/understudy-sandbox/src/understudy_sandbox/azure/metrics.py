"""Azure Monitor's metric of calls by deployment, from the sandbox's own count of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from understudy_sandbox.azure.deployments import HOUR
from understudy_sandbox.errors import ApiError

if TYPE_CHECKING:
    from understudy_sandbox.state import Doc

METRIC, DIMENSION = "AzureOpenAIRequests", "ModelDeploymentName"
_INTERVALS = {"PT1H": HOUR, "PT6H": 6 * HOUR, "PT12H": 12 * HOUR, "P1D": 24 * HOUR}
_FILTER = re.compile(rf"{DIMENSION} eq '([^']*)'", re.IGNORECASE)
_SERIES = 10  # where $filter is given and top is not


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for; times in Unix seconds."""

    since: float
    until: float
    interval: str
    wanted: str | None
    top: int


def _invalid(message: str) -> ApiError:
    return ApiError(400, message, code="BadRequest")


def query_of(given: Mapping[str, str], now: float) -> Query:
    """The query of a request.

    Raises:
        ApiError: 400, it asks for what is not served.
    """
    if given.get("metricnames") != METRIC:
        raise _invalid(f"Failed to find metric configuration; valid metrics: {METRIC}")
    if given.get("aggregation", "Total").lower() != "total":
        raise _invalid("The sandbox aggregates by Total only.")
    interval = given.get("interval", "PT1H")
    if interval not in _INTERVALS:
        raise _invalid(f"Invalid interval {interval!r}; valid: {', '.join(_INTERVALS)}")
    since, until = now - HOUR, now
    if "timespan" in given:
        try:
            since, until = (_seconds(end) for end in given["timespan"].split("/"))
        except ValueError:
            raise _invalid("timespan is START/END, each in ISO 8601") from None
    found = _FILTER.fullmatch(given.get("$filter", f"{DIMENSION} eq '*'"))
    if found is None:
        raise _invalid(f"Invalid $filter; the sandbox takes {DIMENSION} eq 'NAME' or '*'")
    return Query(
        since=since,
        until=until,
        interval=interval,
        wanted=found[1] if "$filter" in given else None,
        top=int(given.get("top", _SERIES)),
    )


def _seconds(text: str) -> float:
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _instant(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat().replace("+00:00", "Z")


def metrics_view(docs: Iterable[Doc], query: Query, *, resource: str, region: str) -> Doc:
    """The reply: a series for each deployment that was called, or one of all."""
    every = list(docs)
    if query.wanted is None:
        series = [_series(every, query, None)]
    else:
        chosen = [d for d in every if query.wanted in {"*", d["name"]} and d["calls"]]
        series = [_series([doc], query, doc["name"]) for doc in chosen][: query.top]
    return {
        "cost": 0,
        "timespan": f"{_instant(query.since)}/{_instant(query.until)}",
        "interval": query.interval,
        "namespace": "Microsoft.CognitiveServices/accounts",
        "resourceregion": region,
        "value": [
            {
                "id": f"{resource}/providers/Microsoft.Insights/metrics/{METRIC}",
                "type": "Microsoft.Insights/metrics",
                "name": {"value": METRIC, "localizedValue": "Azure OpenAI Requests"},
                "unit": "Count",
                "timeseries": series,
                "errorCode": "Success",
            }
        ],
    }


def _series(docs: list[Doc], query: Query, name: str | None) -> dict[str, Any]:
    # The service writes the dimension's name in lower case here.
    told = {"name": {"value": DIMENSION.lower(), "localizedValue": DIMENSION.lower()}}
    return {
        "metadatavalues": [] if name is None else [{**told, "value": name}],
        "data": list(_points(docs, query)),
    }


def _points(docs: list[Doc], query: Query) -> Iterator[dict[str, Any]]:
    step = _INTERVALS[query.interval]
    start = query.since // step * step
    while start < query.until:
        hours = range(int(start // HOUR), int((start + step) // HOUR))
        total = sum(doc["calls"].get(str(hour), 0) for doc in docs for hour in hours)
        yield {"timeStamp": _instant(start), "total": float(total)}
        start += step
