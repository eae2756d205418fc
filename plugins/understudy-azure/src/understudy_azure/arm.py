"""Requests to ARM through its SDK: each sent once, none waited for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from azure.core.exceptions import (
    AzureError,
    DecodeError,
    DeserializationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import (
    ContentDecodePolicy,
    CustomHookPolicy,
    RequestIdPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.rest import HttpRequest
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
from azure.mgmt.core import ARMPipelineClient

from understudy.errors import BackendError, InvalidData
from understudy.model import Json
from understudy_azure import wire_metrics
from understudy_azure.auth import Tokens
from understudy_azure.settings import AzureSettings
from understudy_azure.wire_errors import to_azure_error
from understudy_openai import Failure, is_loopback, retry_after
from understudy_openai.wire_values import mapping, rows, text

__all__ = ["Arm"]

_NEVER_SENT = frozenset(
    {
        "ConnectTimeout",
        "ConnectTimeoutError",
        "NameResolutionError",
        "NewConnectionError",
        "ProxyError",
        "SSLError",
    }
)
_PERMISSIONS = "2022-04-01"
_CONNECT = 5.0


class _Bearer(SansIOHTTPPolicy[Any, Any]):
    """Puts the token on; the SDK's own policy would send a refused request again by itself."""

    def __init__(self, tokens: Tokens, scope: str) -> None:
        self._tokens, self._scope = tokens, scope

    def on_request(self, request: PipelineRequest[Any]) -> None:
        request.http_request.headers["Authorization"] = f"Bearer {self._tokens.get(self._scope)}"


class Arm:
    """One Azure OpenAI account as ARM knows it.

    Args:
        name: the backend's, for messages.
        settings: which account, and how long a request may take.
        tokens: where bearer tokens come from.
        secrets: strings that must stand in no message.
    """

    def __init__(
        self,
        name: str,
        settings: AzureSettings,
        tokens: Tokens,
        secrets: Callable[[], tuple[str, ...]],
    ) -> None:
        self._name, self._settings, self._tokens = name, settings, tokens
        self._secrets = secrets
        self._lock = threading.Lock()
        self._made: Any = None

    @property
    def configured(self) -> bool:
        """Whether the settings say where the account is."""
        return bool(self._settings.subscription_id and self._settings.resource_group)

    @property
    def account(self) -> tuple[str, str]:
        """Resource group and account name.

        Raises:
            InvalidData: the settings do not name them.
        """
        group = self._settings.resource_group
        if not self.configured or group is None:
            missing = [
                name
                for name in ("subscription_id", "resource_group")
                if not getattr(self._settings, name)
            ]
            raise InvalidData(
                f"backend {self._name!r} does not know its account in ARM. Set "
                f"{' and '.join(missing)} in [backends.{self._name}] of understudy.toml."
            )
        return group, self._settings.account_name

    @property
    def client(self) -> Any:
        """The SDK's client without retries, made at first use."""
        with self._lock:
            if self._made is None:
                self._made = CognitiveServicesManagementClient(
                    credential=self._tokens,  # type: ignore[arg-type]  # our policy asks it
                    subscription_id=self._settings.subscription_id or "",
                    base_url=self._settings.arm_endpoint,
                    api_version=self._settings.arm_api_version,
                    **self._pipeline(),
                )
            return self._made

    def _pipeline(self) -> dict[str, Any]:
        # Left out on purpose: retries, redirects, and the registration of a provider that the
        # default pipeline waits for and then sends the request again.
        chosen: dict[str, Any] = {
            "policies": [
                RequestIdPolicy(),
                UserAgentPolicy(sdk_moniker="understudy-azure"),
                ContentDecodePolicy(),
                _Bearer(self._tokens, self._settings.arm_scope),
                CustomHookPolicy(),
            ],
            "connection_timeout": _CONNECT,
            "read_timeout": max(1.0, self._settings.request_timeout - 2 * _CONNECT),
            "use_env_settings": not is_loopback(self._settings.arm_endpoint),
        }
        if self._settings.ca_file is not None:
            chosen["connection_verify"] = str(self._settings.ca_file)
        return chosen

    def call(
        self, what: str, method: Callable[..., Any], /, *args: Any, paid: bool = False, **kw: Any
    ) -> Json:
        """One request; its parsed reply, None where there is none.

        Raises:
            OutcomeUnknown: it is ``paid`` and may have taken effect.
            BackendError: it was refused or failed.
        """
        seen: list[Any] = []
        try:
            method(*args, raw_response_hook=seen.append, **kw)
        except (AzureError, DecodeError, DeserializationError, ValueError) as error:
            raise self._error(error, what=what, paid=paid) from None
        return self._json(seen[-1].http_response, what=what, paid=paid)

    def pages(self, what: str, method: Callable[..., Any], /, *args: Any) -> Iterator[Json]:
        """The rows of a list, page after page."""
        seen: list[Any] = []
        listed = method(*args, raw_response_hook=seen.append).by_page()
        while True:
            try:
                next(listed)
            except StopIteration:
                return
            except (AzureError, DecodeError, DeserializationError, ValueError) as error:
                raise self._error(error, what=what, paid=False) from None
            yield from rows(self._json(seen[-1].http_response, what=what, paid=False))

    def below(self, what: str, path: str, params: Mapping[str, str]) -> Json:
        """The reply of another service's GET below the account, such as its permissions."""
        group, account = self.account
        address = (
            f"/subscriptions/{self._settings.subscription_id}/resourceGroups/{group}"
            f"/providers/Microsoft.CognitiveServices/accounts/{account}/providers/{path}"
        )
        pipeline: ARMPipelineClient[Any, Any] = ARMPipelineClient(
            self._settings.arm_endpoint, **self._pipeline()
        )
        with pipeline as client:
            url = client.format_url(address)
            request = HttpRequest("GET", url, params=dict(params))
            try:
                response = client.send_request(request)
                response.raise_for_status()
            except AzureError as error:
                raise self._error(error, what=what, paid=False) from None
            return self._json(response, what=what, paid=False)

    def permissions(self) -> list[Json]:
        """What the caller may do on the account, from its role assignments."""
        what = f"read the permissions on {self.account[1]}"
        path = "Microsoft.Authorization/permissions"
        return list(rows(self.below(what, path, {"api-version": _PERMISSIONS})))

    def last_asked(self, now: float) -> dict[str, float]:
        """When each deployment was last asked, by its name in lower case."""
        what = f"read the metrics of {self.account[1]}"
        path = "Microsoft.Insights/metrics"
        return wire_metrics.last_asked(self.below(what, path, wire_metrics.query(now)))

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _json(self, response: Any, *, what: str, paid: bool) -> Json:
        try:
            content = response.text()
            return json.loads(content) if content else None
        except (json.JSONDecodeError, UnicodeDecodeError, AzureError):
            status = response.status_code
            failure = Failure(kind="reply", status=status, message="it is not JSON")
        raise self._raised(failure, what=what, paid=paid)

    def _error(self, error: Exception, *, what: str, paid: bool) -> BackendError:
        failure = _failure(error)
        if failure.status == 401:
            self._tokens.forget()
        return self._raised(failure, what=what, paid=paid)

    def _raised(self, failure: Failure, *, what: str, paid: bool) -> BackendError:
        host = self._settings.arm_endpoint.partition("://")[2]
        return to_azure_error(failure, what=f"{what} at {host}", paid=paid, secrets=self._secrets())


def _failure(error: Exception) -> Failure:
    """The facts of an exception of the SDK."""
    response = getattr(error, "response", None)
    if isinstance(error, HttpResponseError) and getattr(response, "status_code", 0) >= 300:
        return _refusal(response)
    cause = type(getattr(error, "inner_exception", None)).__name__
    sent = cause not in _NEVER_SENT
    if "Timeout" in type(error).__name__:
        return Failure(kind="timeout", sent=sent)
    network = isinstance(error, ServiceRequestError | ServiceResponseError)
    return Failure(kind="connection" if network else "reply", sent=sent)


def _refusal(response: Any) -> Failure:
    told = _told(response)
    # Where a whole request is invalid, ARM puts the telling code one level deeper.
    details = told.get("details")
    inner = next((row for row in details if mapping(row).get("code")), None) if details else None
    vague = (text(told.get("code")) or "") in {"", "BadRequest", "Conflict", "InvalidRequest"}
    telling = mapping(inner) if vague and inner else told
    return Failure(
        kind="status",
        status=response.status_code,
        code=text(telling.get("code")),
        message=text(telling.get("message")) or text(told.get("message")) or "",
        retry_after=retry_after({k.lower(): v for k, v in response.headers.items()}),
    )


def _told(response: Any) -> Any:
    try:
        body = json.loads(response.text())
    except (json.JSONDecodeError, UnicodeDecodeError, AzureError):
        return {}
    return mapping(mapping(body).get("error")) or mapping(body)
