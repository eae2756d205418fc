"""Which resource is meant, who is asking, and what is chosen where a recipe says nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from understudy_azure.params import training_type
from understudy_openai import WireSettings, is_loopback, web_address

__all__ = ["CLASSIC_VERSION", "AzureSettings"]

CLASSIC_VERSION = "2025-04-01-preview"
"""Version of the classic surface that this plugin was written against."""

_ACCOUNT_ID = re.compile(
    r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+"
    r"/providers/Microsoft\.CognitiveServices/accounts/[^/\s]+",
    re.IGNORECASE,
)


class AzureSettings(WireSettings):
    """Settings of ``[backends.azure]``.

    The resource: ``endpoint`` (data plane), and for deployments ``subscription_id``,
    ``resource_group`` and ``account`` (default: the first part of the endpoint's host). ``region``
    is read from ARM where it is not told. ``source`` is the ARM id of the account where models
    were trained, if they are to be deployed in this one. ``deployments`` names the deployments of
    base models: ``{"gpt-4.1-2025-04-14": "gpt-41"}``; ``batch_deployments`` those that take batches
    (GlobalBatch, DataZoneBatch), which answer nothing live.

    Who asks: an ``api_key`` for the data plane, or a token of Entra ID; ARM takes tokens only.
    ``auth`` decides where both are there. ``credential`` says where tokens come from.

    ``capacity`` is that of a deployment which asks for none, in the service's units: thousands of
    tokens a minute, or provisioned units. ``training_type`` is the tier of a job that names none.
    ``training_blob_url`` and ``validation_blob_url`` (https, with their signature) are fetched by
    the service instead of an upload; they must hold the rows of the dataset that is trained on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    env: ClassVar[Mapping[str, str]] = {
        "endpoint": "AZURE_OPENAI_ENDPOINT",
        "api_key": "AZURE_OPENAI_API_KEY",
        "api_version": "OPENAI_API_VERSION",
        "subscription_id": "AZURE_SUBSCRIPTION_ID",
        "resource_group": "AZURE_RESOURCE_GROUP",
        "account": "UNDERSTUDY_AZURE_ACCOUNT",
        "tenant_id": "AZURE_TENANT_ID",
        "client_id": "AZURE_CLIENT_ID",
        "client_secret": "AZURE_CLIENT_SECRET",
        "token_file": "AZURE_FEDERATED_TOKEN_FILE",
        "authority_host": "AZURE_AUTHORITY_HOST",
        "ca_file": "UNDERSTUDY_AZURE_CA_FILE",
        "arm_endpoint": "UNDERSTUDY_AZURE_ARM_ENDPOINT",
        "training_blob_url": "UNDERSTUDY_AZURE_TRAINING_BLOB_URL",
        "validation_blob_url": "UNDERSTUDY_AZURE_VALIDATION_BLOB_URL",
    }

    endpoint: str
    surface: Literal["v1", "classic"] = "v1"
    api_version: str = CLASSIC_VERSION

    auth: Literal["key", "token"] | None = None
    credential: Literal["default", "workload", "managed", "service-principal"] = "default"
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    token_file: Path | None = None
    authority_host: str = "https://login.microsoftonline.com"
    data_scope: str = "https://cognitiveservices.azure.com/.default"
    arm_scope: str = "https://management.azure.com/.default"

    subscription_id: str | None = None
    resource_group: str | None = None
    account: str | None = None
    region: str | None = None
    arm_endpoint: str = "https://management.azure.com"
    arm_api_version: str = "2025-09-01"
    ca_file: Path | None = None

    training_type: str = "GlobalStandard"
    capacity: int = Field(default=50, ge=1)
    source: str | None = None
    deployments: dict[str, str] = Field(default_factory=dict)
    batch_deployments: dict[str, str] = Field(default_factory=dict)
    training_blob_url: SecretStr | None = None
    validation_blob_url: SecretStr | None = None

    @property
    def base_url(self) -> str:
        """Where the data plane's paths begin."""
        return f"{self.endpoint}/openai" + ("/v1" if self.surface == "v1" else "")

    @property
    def account_name(self) -> str:
        """The account's name in ARM."""
        return self.account or (urlsplit(self.endpoint).hostname or "").partition(".")[0]

    @property
    def by_key(self) -> bool:
        """Whether the data plane is asked with the key."""
        return self.auth == "key" or (self.auth is None and self.api_key is not None)

    @field_validator("endpoint", "arm_endpoint", "authority_host")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        whole = value if "://" in value else f"https://{value}"
        # Portals show the endpoint with and without the path of one surface.
        return re.sub(r"/openai(?:/v1)?$", "", web_address(whole))

    @field_validator("training_type")
    @classmethod
    def _is_a_training_type(cls, value: str) -> str:
        return str(training_type(value))

    @field_validator("source")
    @classmethod
    def _is_an_account(cls, value: str | None) -> str | None:
        if value and not _ACCOUNT_ID.fullmatch(value):
            message = (
                "not the ARM id of an account; write it like /subscriptions/ID/resourceGroups/"
                "GROUP/providers/Microsoft.CognitiveServices/accounts/NAME"
            )
            raise ValueError(message)
        return value or None

    @field_validator("subscription_id", "resource_group", "account", "tenant_id", "client_id")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"[\w().\-]+", value):
            message = "a plain name or id; no '/' and no spaces may stand in it"
            raise ValueError(message)
        return value or None

    @model_validator(mode="after")
    def _is_private(self) -> Self:
        for name in ("endpoint", "arm_endpoint", "authority_host"):
            url = getattr(self, name)
            if urlsplit(url).scheme == "http" and not is_loopback(url):
                message = f"{name} is plain http to another machine; use https"
                raise ValueError(message)
        if urlsplit(self.authority_host).scheme != "https":
            message = "authority_host is plain http; tokens are only asked for over https"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if self.auth == "key" and self.api_key is None:
            message = "auth is 'key' and there is no key; set AZURE_OPENAI_API_KEY"
            raise ValueError(message)
        if self.credential == "service-principal":
            given = {
                "tenant_id": self.tenant_id,
                "client_id": self.client_id,
                "client_secret": self.client_secret,
            }
            missing = ", ".join(name for name, value in given.items() if not value)
            if missing:
                message = f"credential 'service-principal' needs {missing}"
                raise ValueError(message)
        blobs = self.training_blob_url or self.validation_blob_url
        if blobs and self.surface == "v1":
            message = "import from a blob is an operation of surface = 'classic'"
            raise ValueError(message)
        return self
