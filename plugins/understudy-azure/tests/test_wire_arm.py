"""Each quirk of ARM, in the pure mapping."""

from __future__ import annotations

import pytest

from azure_kit import MODEL, TUNED, shown, wanted
from understudy.errors import InvalidData
from understudy.model import RemoteState
from understudy_azure import wire_arm


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ("Accepted", RemoteState.RUNNING),
        ("Creating", RemoteState.RUNNING),
        ("Moving", RemoteState.RUNNING),
        ("Succeeded", RemoteState.SUCCEEDED),
        ("Failed", RemoteState.FAILED),
        ("Disabled", RemoteState.FAILED),
        ("Deleting", RemoteState.CANCELLING),
        ("Canceled", RemoteState.CANCELLED),
        ("Pondering", RemoteState.UNKNOWN),
    ],
)
def test_every_provisioning_state(raw: str, state: RemoteState) -> None:
    status = wire_arm.deployment_status(shown(state=raw), name="unit-1")
    assert (status.state, status.raw) == (state, raw)
    assert status.model == ("unit-1" if state is RemoteState.SUCCEEDED else None)
    assert (status.problem is not None) == (state is RemoteState.FAILED)


def test_a_failed_deployment_says_why_where_arm_does() -> None:
    told = shown(state="Failed")
    told["properties"]["error"] = {"code": "InternalServerError", "message": "It broke."}
    problem = wire_arm.deployment_status(told, name="unit-1").problem
    assert problem is not None
    assert (problem.code, problem.message) == ("InternalServerError", "It broke.")
    silent = wire_arm.deployment_status(shown(state="Failed"), name="unit-1").problem
    assert silent is not None
    assert "activity log" in silent.message


@pytest.mark.parametrize("name", ["unit-1", "a" * 64, "A_b-1"])
def test_names_that_can_be_deployed(name: str) -> None:
    wire_arm.check_name(name)


@pytest.mark.parametrize("name", ["", "a", "-unit", "v1.2", "a" * 65, "a b", "a/b"])
def test_names_that_cannot(name: str) -> None:
    with pytest.raises(InvalidData, match="no dots"):
        wire_arm.check_name(name)


def test_base_models_end_in_their_version_and_fine_tunes_have_version_one() -> None:
    assert wire_arm.model_parts(MODEL) == ("gpt-4o-mini", "2024-07-18")
    assert wire_arm.model_parts(TUNED) == (TUNED, "1")
    assert wire_arm.model_parts("gpt-image") == ("gpt-image", "1")
    assert wire_arm.served_model(shown()) == TUNED
    base = {"properties": {"model": {"name": "gpt-4o-mini", "version": "2024-07-18"}}}
    assert wire_arm.same_model(base, MODEL)


def test_the_body_of_a_deployment_says_whose_it_is() -> None:
    body = wire_arm.deployment_body(
        wanted(owner="o" * 300), key="k-1", sku="DeveloperTier", capacity=5, source=None
    )
    assert body["sku"] == {"name": "DeveloperTier", "capacity": 5}
    assert body["properties"] == {"model": {"format": "OpenAI", "name": TUNED, "version": "1"}}
    assert body["tags"] == {
        "understudy_key": "k-1",
        "understudy_owner": "o" * 256,
        "understudy_purpose": "evaluation",
        "understudy_delete_by": "2027-01-15T09:00:00+00:00",
    }


def test_a_model_of_another_region_names_its_source() -> None:
    source = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
    body = wire_arm.deployment_body(wanted(), key="k", sku="Standard", capacity=1, source=source)
    assert body["properties"]["model"]["source"] == source


def test_skus_in_any_letter_case_and_newer_ones_as_they_are() -> None:
    assert [wire_arm.sku_name(sku.upper()) for sku in wire_arm.SKUS] == list(wire_arm.SKUS)
    assert wire_arm.sku_name(" NextTier ") == "NextTier"


def test_fine_tuned_models_cannot_batch() -> None:
    for sku in ("GlobalBatch", "DataZoneBatch"):
        with pytest.raises(InvalidData, match="cannot batch"):
            wire_arm.check_sku(sku, TUNED)
        wire_arm.check_sku(sku, MODEL)


def test_a_row_of_the_list() -> None:
    row = wire_arm.deployment(shown())
    assert (row.name, row.model, row.sku, row.capacity) == ("unit-1", TUNED, "DeveloperTier", 50)
    assert (row.key, row.owner, row.purpose) == ("k-1", "worker@host", "evaluation")
    assert row.delete_by == 1_800_003_600.0
    assert row.created_at == pytest.approx(1_800_000_000, abs=1)
    assert row.deleted_at == pytest.approx(1_800_086_400, abs=1)
    assert row.handle.data["model"] == TUNED


def test_a_row_that_is_not_ours() -> None:
    bare = {"name": "theirs", "properties": {"provisioningState": "Succeeded"}}
    row = wire_arm.deployment(bare)
    assert (row.key, row.owner, row.created_at, row.deleted_at) == (None, None, None, None)
    with pytest.raises(ValueError, match="without a name"):
        wire_arm.deployment({})


MODELS = [
    {
        "name": "gpt-4o-mini",
        "version": "2024-07-18",
        "lifecycleStatus": "GenerallyAvailable",
        "capabilities": {"fineTune": "true"},
        "deprecation": {"fineTune": "2027-04-14T00:00:00Z", "inference": "2027-10-14T00:00:00Z"},
    },
    {"model": {"name": "gpt-6-luna", "version": "1", "capabilities": {"fineTune": "false"}}},
]


@pytest.mark.parametrize("model", [MODEL, TUNED])
def test_dates_of_a_model_and_of_its_fine_tunes(model: str) -> None:
    life = wire_arm.lifecycle(MODELS, model, account="unit")
    assert life is not None
    assert (life.model, life.training_until, life.inference_until) == (
        model,
        "2027-04-14",
        "2027-10-14",
    )
    assert "GenerallyAvailable" in life.source
    assert wire_arm.lifecycle(MODELS, "gpt-9", account="unit") is None


def test_what_can_be_trained_in_the_region() -> None:
    assert wire_arm.trainable(MODELS) == {MODEL: "2027-04-14"}


def test_quota_by_sku() -> None:
    usages = [
        {"name": {"value": "OpenAI.Standard.gpt-4o-mini"}, "currentValue": 1.0, "limit": 10},
        {"name": {"value": "OpenAI.GlobalStandard.gpt-4o-mini"}, "currentValue": 9, "limit": 9},
        {"name": {"value": "OpenAI.Standard.broken"}, "limit": None},
    ]
    assert wire_arm.quota(usages, "Standard") == {"OpenAI.Standard.gpt-4o-mini": (1.0, 10.0)}


@pytest.mark.parametrize(
    ("rows", "allowed"),
    [
        ([{"actions": ["*"], "notActions": []}], True),
        ([{"actions": ["Microsoft.CognitiveServices/*"]}], True),
        ([{"actions": ["*/read"], "notActions": []}], False),
        ([{"actions": ["*"], "notActions": ["Microsoft.CognitiveServices/*/write"]}], False),
        ([{"actions": ["*/read"]}, {"actions": ["microsoft.cognitiveservices/*"]}], True),
        ([], False),
    ],
)
def test_roles_are_wildcards_less_exceptions(
    rows: list[dict[str, object]], *, allowed: bool
) -> None:
    wanted_action = "Microsoft.CognitiveServices/accounts/deployments/write"
    assert wire_arm.allows(rows, wanted_action) == allowed
