"""Tokens: who gets one, where it is taken, and the Azure SDKs over TLS."""

from __future__ import annotations

import openai
import pytest

from azure_face_kit import ACCOUNTS, ARM_SCOPE, ASK, VERSION
from understudy_sandbox.azure.settings import (
    ACCOUNT,
    CLIENT_ID,
    CLIENT_SECRET,
    RESOURCE_GROUP,
    SUBSCRIPTION,
    TENANT,
)
from understudy_sandbox.launch import Sandbox

identity = pytest.importorskip("azure.identity")
DATA_SCOPE = "https://cognitiveservices.azure.com/.default"


def credential(azure, kind: str = "ClientSecretCredential", **more):
    given = {"client_secret": CLIENT_SECRET} if kind == "ClientSecretCredential" else {}
    return getattr(identity, kind)(
        **{"tenant_id": TENANT, "client_id": CLIENT_ID, **given, **more},
        authority=azure.sandbox.tls_url,
        disable_instance_discovery=True,
        connection_verify=str(azure.sandbox.ca_file),
    )


def test_a_service_principal_speaks_to_both_data_planes(azure, azure_job) -> None:
    azure.deploy("who", azure_job.fine_tuned_model)
    with credential(azure) as made:
        provider = identity.get_bearer_token_provider(made, DATA_SCOPE)
        with openai.AzureOpenAI(
            azure_endpoint=azure.sandbox.azure_url,
            azure_ad_token_provider=provider,
            api_version=VERSION,
            max_retries=0,
        ) as classic:
            assert classic.fine_tuning.jobs.retrieve(azure_job.id).status == "succeeded"
            assert classic.chat.completions.create(model="who", messages=ASK).choices
        with openai.OpenAI(
            base_url=f"{azure.sandbox.azure_url}/openai/v1", api_key=provider, max_retries=0
        ) as v1:
            assert v1.fine_tuning.jobs.retrieve(azure_job.id).id == azure_job.id
    azure.drop("who")


def test_workload_identity_trades_a_federated_token(azure, tmp_path) -> None:
    path = tmp_path / "token"
    path.write_text("a.b.c")
    with credential(azure, "WorkloadIdentityCredential", token_file_path=str(path)) as made:
        assert made.get_token(DATA_SCOPE).token.count(".") == 2


def test_a_managed_identity_asks_the_metadata_service(azure, monkeypatch) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.sandbox.azure_url)
    with identity.ManagedIdentityCredential() as made:
        token = made.get_token(DATA_SCOPE).token
    headers = {"Authorization": f"Bearer {token}"}
    reply = azure.http.get("/openai/v1/models", headers=headers)
    assert reply.status_code == 200
    bare = azure.http.get("/metadata/identity/oauth2/token", params={"resource": ARM_SCOPE})
    assert bare.status_code == 400


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"tenant_id": "99999999-9999-4999-8999-999999999999"}, "AADSTS90002"),
        ({"client_secret": "wrong"}, "AADSTS7000215"),
        ({"client_id": "99999999-9999-4999-8999-999999999999"}, "AADSTS700016"),
    ],
)
def test_a_wrong_tenant_secret_or_client_has_its_aadsts_number(azure, more, says) -> None:
    from azure.core.exceptions import ClientAuthenticationError

    with credential(azure, **more) as made, pytest.raises(ClientAuthenticationError) as refused:
        made.get_token(DATA_SCOPE)
    number = {"AADSTS90002": "tenant"}.get(says, says)
    assert number.lower() in str(refused.value).lower()


def test_the_resource_manager_sdk_deploys_over_tls(azure, azure_job) -> None:
    mgmt = pytest.importorskip("azure.mgmt.cognitiveservices")
    with (
        credential(azure) as made,
        mgmt.CognitiveServicesManagementClient(
            made,
            SUBSCRIPTION,
            base_url=azure.sandbox.tls_url,
            credential_scopes=[f"{ARM_SCOPE}/.default"],
            connection_verify=str(azure.sandbox.ca_file),
        ) as client,
    ):
        where = (RESOURCE_GROUP, ACCOUNT)
        body = {
            "sku": {"name": "GlobalStandard", "capacity": 2},
            "properties": {
                "model": {
                    "format": "OpenAI",
                    "name": azure_job.fine_tuned_model,
                    "version": "1",
                }
            },
            "tags": {"owner": "sdk"},
        }
        poller = client.deployments.begin_create_or_update(*where, "sdk", body, polling_interval=0)
        assert client.deployments.get(*where, "sdk").properties.provisioning_state == "Accepted"
        azure.sandbox.advance(40)
        assert poller.result(timeout=30).properties.provisioning_state == "Succeeded"
        assert "sdk" in [d.name for d in client.deployments.list(*where)]
        assert client.accounts.get(*where).location == "swedencentral"
        models = {m.name: m for m in client.accounts.list_models(*where)}
        assert models["gpt-4.1"].deprecation.fine_tune
        quotas = {u.name.value for u in client.usages.list("swedencentral")}
        assert "OpenAI.DeveloperTier.gpt-4o-mini-finetune" in quotas
        assert quotas == {u.name.value for u in client.accounts.list_usages(*where).value}
        assert [m.model.name for m in client.models.list("swedencentral")]
        gone = client.deployments.begin_delete(*where, "sdk", polling_interval=0)
        azure.sandbox.advance(5)
        gone.result(timeout=30)
        assert not list(client.deployments.list(*where))


def test_no_token_is_given_where_a_network_could_ask(tmp_path) -> None:
    from types import SimpleNamespace

    from understudy_sandbox.config import Config
    from understudy_sandbox.errors import ApiError
    from understudy_sandbox.routes.azure.face import ENTRA

    for host in ("127.0.0.1", "::1", "localhost"):
        ENTRA.authorise(SimpleNamespace(config=Config(data=tmp_path, host=host)), None, False)
    wide = SimpleNamespace(config=Config(data=tmp_path, host="0.0.0.0", api_key="sk-own"))
    with pytest.raises(ApiError, match="on loopback only"):
        ENTRA.authorise(wide, None, False)


def test_a_token_is_for_one_plane(azure) -> None:
    data = azure.sandbox.token()
    refused = azure.arm("GET", f"{ACCOUNTS}/{ACCOUNT}", Authorization=f"Bearer {data}")
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "InvalidAuthenticationTokenAudience"
    arm = {"Authorization": f"Bearer {azure.sandbox.token(ARM_SCOPE)}"}
    assert azure.http.get("/openai/v1/models", headers=arm).status_code == 401
    # The key of the data plane is no token.
    key = azure.arm("GET", f"{ACCOUNTS}/{ACCOUNT}", Authorization=f"Bearer {azure.sandbox.api_key}")
    assert key.json()["error"]["code"] == "InvalidAuthenticationToken"
    assert azure.http.get("/openai/v1/models", headers={"api-key": "no"}).status_code == 401
    assert azure.http.get("/openai/v1/models").json()["error"]["code"] == "401"


def test_tokens_expire_by_the_sandboxs_clock_and_a_restart_forgets_nothing(tmp_path) -> None:
    import httpx2 as httpx

    with Sandbox(tmp_path, token_seconds=600, azure_account=["solo=eastus2"]) as sandbox:
        token = sandbox.token(ARM_SCOPE)

        def ask() -> httpx.Response:
            url = f"{sandbox.azure_url}{ACCOUNTS}/solo?api-version=2025-06-01"
            return httpx.get(url, headers={"Authorization": f"Bearer {token}"})

        def deploy() -> int:
            model = {"format": "OpenAI", "name": "gpt-4.1-mini", "version": "2025-04-14"}
            body = {"sku": {"name": "Standard", "capacity": 1}, "properties": {"model": model}}
            url = f"{sandbox.azure_url}{ACCOUNTS}/solo/deployments/kept?api-version=2025-06-01"
            headers = {"Authorization": f"Bearer {token}"}
            return httpx.put(url, json=body, headers=headers).status_code

        assert ask().json()["location"] == "eastus2"
        assert deploy() == 201
        sandbox.restart()
        assert ask().status_code == 200
        assert deploy() == 200  # it is there still, and not made again
        sandbox.advance(601)
        assert ask().json()["error"]["code"] == "ExpiredAuthenticationToken"
