"""The Azure backend: OpenAI's data plane with Azure's differences, and deployments through ARM."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx2
import openai

from understudy import backend as contract
from understudy.backend import Check, Clock, FindResult
from understudy.errors import BackendError, InvalidData, NotFound, Unavailable
from understudy.model import (
    BatchLimits,
    ChatReply,
    ChatRequest,
    Deployment,
    DeploymentSpec,
    Estimate,
    Handle,
    JobSpec,
    Json,
    Lifecycle,
    Problem,
    RemoteState,
    RemoteStatus,
)
from understudy_azure import batch_limits, doctor, params, wire, wire_arm
from understudy_azure.arm import Arm
from understudy_azure.auth import Tokens
from understudy_azure.deployments import Deployments
from understudy_azure.settings import AzureSettings
from understudy_azure.wire_errors import to_azure_error
from understudy_openai import (
    Failure,
    Limits,
    OpenAIBackend,
    estimate,
    file_name,
    is_loopback,
    timeouts,
)
from understudy_openai.wire import file_record
from understudy_openai.wire_values import rows

__all__ = ["AzureBackend"]

_SETTLES = 600.0
"""Seconds for which Azure may say of a deployment that succeeded that it is not there."""


class AzureBackend(OpenAIBackend):
    """Azure OpenAI on either surface: one mapping, two clients."""

    Params: ClassVar[type[contract.Params]] = params.AzureParams
    Settings: ClassVar[type[contract.Settings]] = AzureSettings
    ready_files: frozenset[str] = wire.READY_FILES
    upload_sizes: Mapping[str, int] = {"single": params.CLASSIC.max_file}
    # A cancel without a body is answered 411.
    verb_options: Mapping[str, Any] = {"extra_body": {}}
    # The batch endpoint has lost its /v1 here.
    batch_url: str = "/chat/completions"
    batch_endpoint: str = "/chat/completions"
    batch_ready: frozenset[str] = wire.READY_FILES
    batch_upload: Mapping[str, Any] = {"expires_after": batch_limits.EXPIRY}

    def __init__(self, *, name: str, settings: Any, clock: Clock) -> None:
        super().__init__(name=name, settings=settings, clock=clock)
        self.limits: Limits = params.V1 if settings.surface == "v1" else params.CLASSIC
        self.tokens = Tokens(name, settings)
        self.arm = Arm(name, settings, self.tokens, self.secrets)
        self._deployments = Deployments(self.arm, settings, self.secrets)
        self._serving_since: dict[str, float] = {}

    # -- what differs from OpenAI --------------------------------------------------------------

    def make_client(self) -> openai.OpenAI:
        """A client of the chosen surface, without retries."""
        settings = self.settings
        key = settings.api_key.get_secret_value() if settings.by_key else None
        common: dict[str, Any] = {
            "max_retries": 0,
            "timeout": timeouts(settings.request_timeout),
            "http_client": self.transport(),
        }
        if settings.surface == "v1":
            return openai.OpenAI(
                base_url=settings.base_url, api_key=key or self.tokens.for_data, **common
            )
        who = {"api_key": key} if key else {"azure_ad_token_provider": self.tokens.for_data}
        return openai.AzureOpenAI(
            azure_endpoint=settings.endpoint, api_version=settings.api_version, **who, **common
        )

    def transport(self) -> httpx2.Client:
        """The connection pool; ``ca_file`` is trusted beside nothing else."""
        own = self.settings.ca_file
        verify = ssl.create_default_context(cafile=str(own)) if own else True
        return openai.DefaultHttpxClient(
            follow_redirects=False,
            verify=verify,
            trust_env=not is_loopback(self.settings.base_url),
        )

    def secrets(self) -> tuple[str, ...]:
        """Key, client secret, tokens, and the addresses of blobs with their signatures."""
        given = (self.settings.training_blob_url, self.settings.validation_blob_url)
        blobs = tuple(url.get_secret_value() for url in given if url is not None)
        return (*super().secrets(), *self.tokens.secrets(), *blobs)

    def body(
        self, spec: JobSpec, *, training: str, validation: str | None, key: str
    ) -> dict[str, Json]:
        """The body of the create, with the tier and without metadata."""
        tier = self.settings.training_type
        return wire.job_body(spec, training=training, validation=validation, key=key, tier=tier)

    def find_filters(self, key: str) -> tuple[Mapping[str, Any], ...]:  # noqa: ARG002 - no metadata
        """The whole list: Azure keeps no metadata, so the training file decides."""
        return ({},)

    def error(self, failure: Failure, *, what: str, paid: bool) -> BackendError:
        """What to raise; a token that was refused is not used again."""
        if failure.status == 401 and not self.settings.by_key:
            self.tokens.forget()
        return to_azure_error(failure, what=what, paid=paid, secrets=self.secrets())

    def owner(self, model: str) -> str | None:
        """Who serves ``model``: classic does not say, so ARM is asked about its base."""
        try:
            told = super().owner(model)
        except (NotFound, InvalidData):
            told = None
        if told is not None or not self.arm.configured:
            return told
        try:
            return wire_arm.maker(self.models(), model)
        except BackendError:
            # The model stands without it, and may be used without rights in ARM.
            return None

    def validate(self, spec: JobSpec) -> list[Problem]:
        """Problems of names, ranges, sizes, models and tiers; offline."""
        method = list(params.check_method(spec))
        if method:
            return method
        return [
            *super().validate(spec),
            *params.check_tier(spec, self.settings.training_type),
            *params.check_volume(spec),
        ]

    def estimate(self, spec: JobSpec) -> Estimate:
        """Billed tokens, and the tier that they are billed in; offline."""
        plain = estimate(spec)
        tier = spec.hyperparameters.get("training_type") or self.settings.training_type
        known = params.training_type(tier)
        return replace(plain, tier=known if isinstance(known, str) else None)

    # -- files from a blob ---------------------------------------------------------------------

    def upload(self, spec: JobSpec, *, key: str) -> Handle:
        """Send the files, or have the service fetch those that the settings give as blobs."""
        blobs = {
            "train": self.settings.training_blob_url,
            "validation": self.settings.validation_blob_url,
        }
        if blobs["train"] is None:
            return super().upload(spec, key=key)
        data: dict[str, Json] = {"key": key}
        for split, url in blobs.items():
            if url is not None:
                name = file_name(key, split)
                sent = self.uploader().existing(name, None)
                sent = sent or self.import_file(url.get_secret_value(), name)
                file = self.read(f"import {name}", file_record, sent)
                data["training_file" if split == "train" else "validation_file"] = file.id
        return Handle(kind="upload", id=data["training_file"], data=data)

    def import_file(self, url: str, filename: str) -> Json:
        """Have the service fetch ``url`` (a blob with its signature) as ``filename``; unpaid."""

        def post() -> Any:
            body = wire.import_body(url, filename)
            reply = self.client.post("/files/import", cast_to=httpx2.Response, body=body)
            return SimpleNamespace(http_response=reply)

        return self.call(f"import {filename}", post)

    # -- jobs ----------------------------------------------------------------------------------

    def poll(self, handle: Handle) -> RemoteStatus:
        """One look at the job, and where it has ended one at its log, for what is billed."""
        return self._billed(handle.id, super().poll(handle))

    def poll_many(self, handles: Sequence[Handle]) -> Mapping[str, RemoteStatus]:
        """Statuses from the list, of jobs that have not ended.

        The list does not say what was billed, so those that have are left to be polled alone.
        """
        found = super().poll_many(handles)
        return {name: status for name, status in found.items() if not wire.is_billed(status)}

    def _billed(self, job: str, status: RemoteStatus) -> RemoteStatus:
        if not wire.is_billed(status):
            return status
        method = self.client.fine_tuning.jobs.with_raw_response.list_events
        what = f"read what job {job} is billed"
        try:
            newest = self.call(what, method, fine_tuning_job_id=job, limit=100)
        except BackendError:
            # The outcome is known, and stands without its price.
            return status
        return wire.with_tokens(status, wire.billed_tokens(rows(newest)))

    # -- answers -------------------------------------------------------------------------------

    def complete(self, request: ChatRequest, *, timeout: float) -> ChatReply:
        """One completion of a deployment; the settings name those of base models."""
        asked = self.settings.deployments.get(request.model, request.model)
        try:
            return super().complete(replace(request, model=asked), timeout=timeout)
        except NotFound as error:
            since = self._serving_since.get(asked)
            fresh = since is not None and self.clock.now() - since < _SETTLES
            if error.code != "DeploymentNotFound" or not fresh:
                raise
            raise Unavailable(
                f"could not ask {asked}: the deployment is new and does not answer yet. "
                "It is tried again.",
                code=error.code,
                status=error.status,
            ) from None

    def batch_limits(self, model: str) -> BatchLimits:
        """Those of base models; a fine-tune takes no batch."""
        return batch_limits.limits_of(model, told=self.settings.batch_enqueued_tokens)

    def batch_row(self, request: ChatRequest, *, custom_id: str) -> Mapping[str, Json]:
        """The row that asks a batch deployment; the settings name those of base models."""
        asked = self.settings.batch_deployments.get(request.model, request.model)
        return super().batch_row(replace(request, model=asked), custom_id=custom_id)

    def lifecycle(self, model: str) -> Lifecycle:
        """Dates of ``model`` from ARM, or from the data plane where ARM is not configured."""
        if not self.arm.configured:
            base = params.base_model(model)
            dates = partial(wire.lifecycle, model=model, host=self.host)
            return self.read(f"look at model {base}", dates, self._model(base))
        found = wire_arm.lifecycle(self.models(), model, account=self.settings.account_name)
        if found is None:
            raise NotFound(
                f"ARM lists no model {params.base_model(model)} for account "
                f"{self.settings.account_name}. Check base_model and the region of the account."
            )
        return found

    def models(self) -> list[Json]:
        """The models of the account as ARM lists them."""
        listed = self.arm.client.accounts.list_models
        return list(self.arm.pages("list the models of the account", listed, *self.arm.account))

    # -- deployments ---------------------------------------------------------------------------

    def start_deployment(self, spec: DeploymentSpec, *, key: str) -> Handle:
        """One PUT; it returns before the deployment is ready."""
        return self._deployments.start(spec, key=key)

    def find_deployment(self, spec: DeploymentSpec, *, key: str) -> FindResult:
        """The deployment of that name, if its tags hold ``key``."""
        return self._deployments.find(spec, key=key)

    def poll_deployment(self, handle: Handle) -> RemoteStatus:
        """One look at its provisioningState."""
        status = self._deployments.poll(handle)
        if status.state is RemoteState.SUCCEEDED:
            self._serving_since.setdefault(handle.id, self.clock.now())
        else:
            self._serving_since.pop(handle.id, None)
        return status

    def scale_deployment(self, handle: Handle, capacity: int) -> None:
        """Ask for another capacity."""
        self._deployments.scale(handle, capacity)

    def stop_deployment(self, handle: Handle) -> None:
        """Delete the deployment; the model stays."""
        self._deployments.stop(handle)

    def list_deployments(self) -> Iterator[Deployment]:
        """Every deployment of the account, with when it was last asked."""
        return self._deployments.rows(self.clock.now())

    # -- health --------------------------------------------------------------------------------

    def doctor(self) -> Iterable[Check]:
        """Endpoint, key or token, API version, jobs; then ARM: account, role, quota, models."""
        return doctor.checks(self)

    def close(self) -> None:
        """Close all connections."""
        super().close()
        self.arm.close()
        self.tokens.close()
