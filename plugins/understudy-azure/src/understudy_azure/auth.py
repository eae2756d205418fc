"""Tokens of Entra ID for the data plane and for ARM, each with its own scope."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import (
    ClientSecretCredential,
    CredentialUnavailableError,
    DefaultAzureCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
    get_bearer_token_provider,
)

from understudy.errors import Unavailable
from understudy_azure.settings import AzureSettings
from understudy_azure.wire_errors import token_error

__all__ = ["Tokens"]

_PUBLIC = "https://login.microsoftonline.com"
_CONNECT, _READ = 5.0, 20.0


class Tokens:
    """Gives bearer tokens, from the cache until shortly before they expire.

    Args:
        name: the backend's, for messages.
        settings: which credential, and where it is redeemed.
    """

    def __init__(self, name: str, settings: AzureSettings) -> None:
        self._name, self._settings = name, settings
        self._lock = threading.Lock()
        self._credential: Any = None
        self._providers: dict[str, Callable[[], str]] = {}
        self._last: dict[str, str] = {}

    def get(self, scope: str) -> str:
        """A token for ``scope``.

        Raises:
            AuthError: there is no credential, or Entra ID refuses it.
            Unavailable: Entra ID cannot be reached now.
        """
        try:
            with self._lock:
                token = self._provider(scope)()
                self._last[scope] = token
                return token
        except CredentialUnavailableError as error:
            text, absent, status = str(error), True, None
        except ClientAuthenticationError as error:
            if isinstance(error.__cause__, ServiceRequestError | ServiceResponseError):
                raise self._unreached(error.__cause__) from None
            text, absent = str(error), False
            status = getattr(error.response, "status_code", None)
        except AzureError as error:
            raise self._unreached(error) from None
        except ValueError as error:
            text, absent, status = str(error), True, None
        raise token_error(
            text, name=self._name, absent=absent, status=status, secrets=self.secrets()
        ) from None

    def _unreached(self, error: AzureError) -> Unavailable:
        distrust = "certificate" in str(error).lower()
        fix = "Set ca_file to its certificate authority." if distrust else "It is tried again."
        return Unavailable(
            f"backend {self._name!r}: no token, since {self._settings.authority_host} or the "
            f"identity endpoint did not answer ({type(error).__name__}). {fix}"
        )

    def for_data(self) -> str:
        """A token for the data plane."""
        return self.get(self._settings.data_scope)

    def forget(self) -> None:
        """Drop what is cached: the service refused it, whatever its dates say."""
        with self._lock:
            credential, self._credential = self._credential, None
            self._providers.clear()
        if credential is not None:
            credential.close()

    def secrets(self) -> tuple[str, ...]:
        """What must stand in no message: the client's secret and the last tokens."""
        secret = self._settings.client_secret
        return (*((secret.get_secret_value(),) if secret else ()), *self._last.values())

    def close(self) -> None:
        """Close the connections to Entra ID."""
        self.forget()

    def _provider(self, scope: str) -> Callable[[], str]:
        if self._credential is None:
            self._credential = _credential(self._settings)
        if scope not in self._providers:
            self._providers[scope] = get_bearer_token_provider(self._credential, scope)
        return self._providers[scope]


def _credential(settings: AzureSettings) -> Any:
    """The credential of azure-identity that the settings ask for. Retries are the engine's."""
    common: dict[str, Any] = {
        "retry_total": 0,
        "connection_timeout": _CONNECT,
        "read_timeout": _READ,
    }
    if settings.ca_file is not None:
        common["connection_verify"] = str(settings.ca_file)
    if settings.credential == "managed":
        return ManagedIdentityCredential(client_id=settings.client_id, **common)
    common["authority"] = settings.authority_host
    if settings.authority_host != _PUBLIC:
        # Else azure-identity asks the public cloud whether it knows this authority.
        common["disable_instance_discovery"] = True
    if settings.credential == "workload":
        file = None if settings.token_file is None else str(settings.token_file)
        return WorkloadIdentityCredential(
            tenant_id=settings.tenant_id,
            client_id=settings.client_id,
            token_file_path=file,
            **common,
        )
    if settings.credential == "service-principal":
        secret = settings.client_secret
        return ClientSecretCredential(
            settings.tenant_id or "",
            settings.client_id or "",
            secret.get_secret_value() if secret else "",
            **common,
        )
    if settings.client_id is not None:
        common["managed_identity_client_id"] = settings.client_id
    return DefaultAzureCredential(**common)
