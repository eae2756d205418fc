"""When a deployment was last asked: the pure mapping of Azure Monitor's metrics.

Nothing else of Azure knows it: ARM shows a deployment that nobody asks as it shows a busy one. The
wire is that of Microsoft's generated client (azure-mgmt-monitor 7.0, api-version 2024-02-01: ``GET
{resource}/providers/Microsoft.Insights/metrics``), metric and dimension are those of the monitoring
reference of Microsoft.CognitiveServices/accounts. Neither was seen on a real account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from understudy.model import Deployment, Json
from understudy_openai.wire_values import mapping, rows, text, time

__all__ = ["API_VERSION", "IDLE_LIFE", "READ", "WINDOW", "last_asked", "query", "with_idle"]

API_VERSION = "2024-02-01"
READ = "Microsoft.Insights/metrics/read"
"""The permission; the role Cognitive Services Contributor has it."""
IDLE_LIFE = 15 * 86_400.0
"""Seconds without a question after which the service deletes a deployment of a fine-tune."""
WINDOW = IDLE_LIFE + 86_400.0
"""Seconds that are looked back: a longer rest only a base model's deployment can have."""
_METRIC, _DIMENSION = "AzureOpenAIRequests", "ModelDeploymentName"
_BUCKET, _INTERVAL = 3600.0, "PT1H"
_SERIES = 1000
"""Deployments at most; without a number the service shows ten."""


def query(now: float) -> dict[str, str]:
    """Parameters that ask for the calls of each deployment by the hour, up to ``now``."""
    since, until = (
        datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for end in (now - WINDOW, now)
    )
    return {
        "api-version": API_VERSION,
        "metricnames": _METRIC,
        "aggregation": "Total",
        "interval": _INTERVAL,
        "timespan": f"{since}/{until}",
        "$filter": f"{_DIMENSION} eq '*'",
        "top": str(_SERIES),
    }


def last_asked(body: Json) -> dict[str, float]:
    """End of the last hour with a call, in seconds since the epoch, by deployment in lower case."""
    found: dict[str, float] = {}
    for metric in rows(mapping(body)):
        for series in map(mapping, _listed(metric.get("timeseries"))):
            name = _name(series)
            hours = [
                began + _BUCKET
                for point in map(mapping, _listed(series.get("data")))
                if (began := time(point.get("timeStamp"))) is not None and _called(point)
            ]
            if name is not None and hours:
                # A series can come in parts, one for each version of the model.
                found[name] = max(found.get(name, 0.0), *hours)
    return found


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _name(series: Mapping[str, Json]) -> str | None:
    for one in map(mapping, _listed(series.get("metadatavalues"))):
        told = text(mapping(one.get("name")).get("value")) or ""
        if told.lower() == _DIMENSION.lower():
            name = text(one.get("value"))
            return None if name is None else name.lower()
    return None


def _called(point: Mapping[str, Json]) -> bool:
    total = point.get("total")
    return isinstance(total, int | float) and total > 0


def with_idle(one: Deployment, asked: Mapping[str, float], *, now: float) -> Deployment:
    """``one`` with when it was last asked, and when the service will delete it for that.

    One that was never asked is idle since it was made, as far as the metric looks back.
    """
    made = one.created_at or 0.0
    since = min(max(asked.get(one.name.lower(), now - WINDOW), made), now)
    ends = [one.deleted_at] if one.deleted_at is not None else []
    if ".ft-" in one.model:
        ends.append(since + IDLE_LIFE)
    return replace(one, idle_since=since, deleted_at=min(ends, default=None))
