"""Azure Monitor's metrics, in the pure mapping."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from azure_kit import MODEL, shown
from understudy_azure import wire_arm, wire_metrics

DAY, HOUR = 86_400.0, 3600.0
NOW = datetime(2028, 1, 20, 12, 30, tzinfo=UTC).timestamp()


def series(name: str, *points: tuple[str, float | None], field: str = "modeldeploymentname") -> Any:
    """A series as the service writes it; a point without calls may have no total."""
    data = [{"timeStamp": at, **({} if n is None else {"total": n})} for at, n in points]
    told = {"name": {"value": field, "localizedValue": field}, "value": name}
    return {"metadatavalues": [told], "data": data}


def reply(*found: Any) -> Any:
    metric = {"name": {"value": "AzureOpenAIRequests"}, "timeseries": list(found)}
    return {"value": [metric], "interval": "PT1H"}


def test_the_query_asks_for_every_deployment_by_the_hour() -> None:
    asked = wire_metrics.query(NOW)
    assert asked["timespan"] == "2028-01-04T12:30:00Z/2028-01-20T12:30:00Z"
    assert (asked["metricnames"], asked["interval"]) == ("AzureOpenAIRequests", "PT1H")
    assert asked["$filter"] == "ModelDeploymentName eq '*'"
    assert int(asked["top"]) > 10  # what the service shows of itself


def test_the_last_hour_with_a_call_counts() -> None:
    early = ("2028-01-10T08:00:00Z", 4.0)
    late = ("2028-01-12T09:00:00Z", 1.0)
    body = reply(
        series("Shop", early, late, ("2028-01-13T09:00:00Z", 0.0), ("2028-01-14T09:00:00Z", None)),
        series("shop", early, field="ModelDeploymentName"),
        series("quiet", ("2028-01-13T09:00:00Z", 0.0)),
        {"metadatavalues": [], "data": [{"timeStamp": "2028-01-13T09:00:00Z", "total": 9}]},
    )
    end = datetime(2028, 1, 12, 10, tzinfo=UTC).timestamp()
    assert wire_metrics.last_asked(body) == {"shop": end}


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"value": None}, {"value": [{"timeseries": None}]}, reply(None), reply({})],
)
def test_replies_without_what_they_should_have_tell_nothing(body: Any) -> None:
    assert wire_metrics.last_asked(body) == {}


def one(*, sku: str = "Standard", age: float = 10 * DAY, **fields: Any) -> Any:
    made = datetime.fromtimestamp(NOW - age, UTC).isoformat()
    row = shown(sku={"name": sku, "capacity": 1}, systemData={"createdAt": made}, **fields)
    return wire_arm.deployment(row)


def test_a_fine_tune_that_rests_is_deleted_after_fifteen_days() -> None:
    found = wire_metrics.with_idle(one(), {"unit-1": NOW - 3 * DAY}, now=NOW)
    assert (found.idle_since, found.deleted_at) == (NOW - 3 * DAY, NOW + 12 * DAY)


def test_one_that_was_never_asked_rests_since_it_was_made() -> None:
    found = wire_metrics.with_idle(one(age=5 * DAY), {"other": NOW}, now=NOW)
    assert found.idle_since == NOW - 5 * DAY
    assert found.deleted_at == NOW + 10 * DAY


def test_calls_of_an_earlier_deployment_of_that_name_do_not_count() -> None:
    found = wire_metrics.with_idle(one(age=2 * DAY), {"unit-1": NOW - 4 * DAY}, now=NOW)
    assert found.idle_since == NOW - 2 * DAY


def test_an_hour_that_has_not_ended_is_not_in_the_future() -> None:
    found = wire_metrics.with_idle(one(), {"unit-1": NOW + HOUR / 2}, now=NOW)
    assert found.idle_since == NOW


def test_the_developer_tier_goes_after_a_day_whatever_it_does() -> None:
    made = NOW - HOUR
    found = wire_metrics.with_idle(one(sku="DeveloperTier", age=HOUR), {"unit-1": NOW}, now=NOW)
    assert found.deleted_at == pytest.approx(made + DAY)


def test_base_models_are_not_deleted_and_rest_as_long_as_the_metric_looks_back() -> None:
    base = {"model": {"format": "OpenAI", "name": MODEL[:11], "version": MODEL[12:]}}
    row = one(age=90 * DAY, properties={**base, "provisioningState": "Succeeded"})
    found = wire_metrics.with_idle(row, {}, now=NOW)
    assert (found.idle_since, found.deleted_at) == (NOW - wire_metrics.WINDOW, None)
    undated = wire_metrics.with_idle(replace(row, created_at=None), {}, now=NOW)
    assert undated.idle_since == NOW - wire_metrics.WINDOW
