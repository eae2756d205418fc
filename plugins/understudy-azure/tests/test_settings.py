"""Settings: what goes together, what is refused, and what nobody may read."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from azure_kit import ENDPOINT, KEY
from understudy import backend as contract
from understudy_azure.backend import AzureBackend
from understudy_azure.plugin import CAPABILITIES, understudy_backends
from understudy_azure.settings import AzureSettings


def made(**given: Any) -> AzureSettings:
    return AzureSettings(**{"endpoint": ENDPOINT, **given})


@pytest.mark.parametrize(
    "given",
    [
        "https://unit.openai.azure.com/",
        "https://unit.openai.azure.com/openai/v1/",
        "https://unit.openai.azure.com/openai",
        "unit.openai.azure.com",
    ],
)
def test_the_endpoint_in_every_form_that_portals_show(given: str) -> None:
    settings = AzureSettings(endpoint=given)
    assert settings.endpoint == ENDPOINT
    assert settings.base_url == f"{ENDPOINT}/openai/v1"
    assert made(surface="classic").base_url == f"{ENDPOINT}/openai"
    assert settings.account_name == "unit"
    assert made(account="other").account_name == "other"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"endpoint": "http://unit.example"}, "plain http"),
        ({"arm_endpoint": "http://unit.example"}, "plain http"),
        ({"authority_host": "http://127.0.0.1:1"}, "only asked for over https"),
        ({"endpoint": "https://me:pw-planted@unit.example"}, "no user, password"),
        ({"auth": "key"}, "there is no key"),
        ({"credential": "service-principal", "tenant_id": "t"}, "needs client_id, client_secret"),
        ({"source": "other-account"}, "not the ARM id"),
        ({"training_blob_url": SecretStr("https://b/f?sig=pw-planted")}, "surface = 'classic'"),
        ({"subscription_id": "a/b"}, "plain name"),
        ({"training_type": "cheap"}, "GlobalStandard"),
        ({"request_timeout": 61}, "less than or equal"),
    ],
)
def test_what_is_refused_without_being_repeated(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        made(**given)
    assert "pw-planted" not in str(caught.value)


def test_plain_http_to_this_machine_is_private() -> None:
    assert made(endpoint="http://127.0.0.1:8080", arm_endpoint="http://localhost:1").by_key is False


def test_the_key_is_asked_with_unless_a_token_is_wanted() -> None:
    assert made(api_key=SecretStr(KEY)).by_key
    assert not made(api_key=SecretStr(KEY), auth="token").by_key
    assert not made().by_key


def test_secrets_are_in_no_repr() -> None:
    settings = made(
        api_key=SecretStr(KEY),
        surface="classic",
        client_secret=SecretStr("cs-planted"),
        training_blob_url=SecretStr("https://blob/f?sig=pw-planted"),
    )
    told = f"{settings!r} {settings} {settings.model_dump_json()}"
    assert not any(word in told for word in (KEY, "cs-planted", "pw-planted"))


def test_the_plugin_is_data_that_fits_the_backend() -> None:
    (spec,) = understudy_backends()
    assert spec.target == "understudy_azure.backend:AzureBackend"
    assert CAPABILITIES.deploy.ok
    backend = AzureBackend(name="azure", settings=made(), clock=None)  # type: ignore[arg-type]
    assert isinstance(backend, contract.SupportsDeploy)
    assert isinstance(backend, contract.SupportsBatch)
    assert "fine-tuned models cannot batch" in CAPABILITIES.batch.reason


def test_the_plugin_imports_no_sdk() -> None:
    code = (
        "import sys, understudy_azure.plugin;"
        "print([m for m in ('openai', 'azure.identity', 'azure.mgmt') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
