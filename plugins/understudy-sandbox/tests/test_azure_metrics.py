"""Azure Monitor's metric of calls, read by Microsoft's own client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from azure_face_kit import ACCOUNTS, ASK
from understudy_sandbox.azure.settings import (
    ACCOUNT,
    CLIENT_ID,
    CLIENT_SECRET,
    SUBSCRIPTION,
    TENANT,
)

BASE = {"model": "gpt-4o-mini", "version": "2024-07-18"}
RESOURCE = f"{ACCOUNTS}/{ACCOUNT}"


def span(azure) -> str:
    now = datetime.fromtimestamp(azure.sandbox.now(), UTC)
    return f"{now - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}/{now:%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def called(azure):
    """Two deployments, one of which was called twice and rested for a day."""
    for name in ("busy", "quiet"):
        azure.deploy(name, **BASE)
    for _ in range(2):
        azure.classic.chat.completions.create(model="busy", messages=ASK)
    azure.sandbox.advance(86_400)
    yield azure
    for name in ("busy", "quiet"):
        azure.drop(name)


def test_microsofts_client_reads_the_calls_of_each_deployment(called) -> None:
    monitor = pytest.importorskip("azure.mgmt.monitor")
    identity = pytest.importorskip("azure.identity")
    sandbox = called.sandbox
    trusted = {"connection_verify": str(sandbox.ca_file)}
    with (
        identity.ClientSecretCredential(
            TENANT,
            CLIENT_ID,
            CLIENT_SECRET,
            authority=sandbox.tls_url,
            disable_instance_discovery=True,
            **trusted,
        ) as credential,
        monitor.MonitorManagementClient(
            credential, SUBSCRIPTION, base_url=sandbox.tls_url, **trusted
        ) as client,
    ):
        found = client.metrics.list(
            RESOURCE,
            timespan=span(called),
            interval="PT1H",
            metricnames="AzureOpenAIRequests",
            aggregation="Total",
            filter="ModelDeploymentName eq '*'",
        )
    (metric,) = found.value
    assert (metric.name.value, found.interval) == ("AzureOpenAIRequests", "PT1H")
    (series,) = metric.timeseries
    assert [one.value for one in series.metadatavalues] == ["busy"]
    points = [point for point in series.data if point.total]
    assert sum(point.total for point in points) == 2
    rested = sandbox.now() - points[-1].time_stamp.timestamp()
    assert 86_400 <= rested < 86_400 + 7200


def test_one_deployment_and_the_whole_resource(called) -> None:
    query = {"api-version": "2024-02-01", "metricnames": "AzureOpenAIRequests", "interval": "P1D"}
    query |= {"timespan": span(called)}

    def total(**more: str) -> float:
        reply = called.arm("GET", f"{RESOURCE}/providers/Microsoft.Insights/metrics", **more)
        assert reply.status_code == 200, reply.text
        (metric,) = reply.json()["value"]
        return sum(p["total"] for one in metric["timeseries"] for p in one["data"])

    assert total(params={**query, "$filter": "ModelDeploymentName eq 'quiet'"}) == 0
    assert total(params={**query, "$filter": "ModelDeploymentName eq 'busy'"}) == 2
    assert total(params=query) >= 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"metricnames": "Latency"},
        {"interval": "PT2M"},
        {"aggregation": "Average"},
        {"timespan": "yesterday"},
        {"$filter": "Region eq 'x'"},
    ],
)
def test_what_is_not_served_is_refused(azure, wrong) -> None:
    query = {"api-version": "2024-02-01", "metricnames": "AzureOpenAIRequests", **wrong}
    path = f"{RESOURCE}/providers/Microsoft.Insights/metrics"
    reply = azure.arm("GET", path, params=query)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "BadRequest")
