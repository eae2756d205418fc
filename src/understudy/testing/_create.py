"""The suite on shape, uploads, creates and finding again."""

from __future__ import annotations

import dataclasses

import pytest
from pydantic import ValidationError

from understudy import backend as contract
from understudy.backend import Backend, Capabilities
from understudy.errors import BackendError, OutcomeUnknown
from understudy.model import Absent, Found, Handle, JobSpec
from understudy.testing._base import KEY, Base, find, upload
from understudy.testing._guards import no_network, no_sleep
from understudy.testing.provider import ProviderAdapter

__all__ = ["CreateTests", "ShapeTests"]

TRAITS = {
    "find": contract.SupportsFind,
    "poll_many": contract.SupportsPollMany,
    "cancel": contract.SupportsCancel,
    "pause": contract.SupportsPause,
    "events": contract.SupportsEvents,
    "checkpoints": contract.SupportsCheckpoints,
    "batch": contract.SupportsBatch,
    "deploy": contract.SupportsDeploy,
    "export": contract.SupportsExport,
    "infer": contract.SupportsInfer,
    "estimate": contract.SupportsEstimate,
    "lifecycle": contract.SupportsLifecycle,
    "listing": contract.SupportsList,
}
"""Field of ``Capabilities`` and the protocol that it speaks of."""


class ShapeTests(Base):
    """What the backend says of itself, and what it does without a provider."""

    @pytest.mark.parametrize("field", sorted(TRAITS))
    def test_capability_agrees_with_protocol(
        self, backend: Backend, capabilities: Capabilities, field: str
    ) -> None:
        said = getattr(capabilities, field).ok
        done = isinstance(backend, TRAITS[field])
        assert said == done, f"capabilities.{field}.ok is {said}, {TRAITS[field].__name__}: {done}"

    def test_each_missing_capability_has_a_reason(self, capabilities: Capabilities) -> None:
        supports = {
            field.name: getattr(capabilities, field.name)
            for field in dataclasses.fields(capabilities)
            if isinstance(getattr(capabilities, field.name), contract.Support)
        }
        silent = [
            name for name, support in supports.items() if not support.ok and not support.reason
        ]
        assert silent == []

    def test_spec_points_at_this_backend(self, backend: Backend, provider: ProviderAdapter) -> None:
        module, _, name = provider.backend_spec.target.partition(":")
        ours = [f"{cls.__module__}:{cls.__qualname__}" for cls in type(backend).__mro__]
        assert f"{module}:{name}" in ours

    def test_construction_does_no_io(self, provider: ProviderAdapter) -> None:
        before = provider.requests()
        with no_network() as tried:
            provider.fresh_backend()
        assert provider.requests() == before
        assert tried == []

    def test_params_refuse_unknown_names(self, backend: Backend) -> None:
        with pytest.raises(ValidationError) as caught:
            backend.Params.model_validate({"no_such_hyperparameter": 1})
        assert "extra_forbidden" in {item["type"] for item in caught.value.errors()}

    def test_settings_refuse_unknown_names(self, backend: Backend) -> None:
        with pytest.raises(ValidationError) as caught:
            backend.Settings.model_validate({"no_such_setting": 1})
        assert "extra_forbidden" in {item["type"] for item in caught.value.errors()}

    def test_validate_is_offline(
        self, backend: Backend, provider: ProviderAdapter, spec: JobSpec
    ) -> None:
        before = provider.requests()
        with no_network() as tried:
            problems = backend.validate(spec)
        assert problems == []
        assert provider.requests() == before
        assert tried == []

    def test_validate_names_an_unknown_hyperparameter(
        self, backend: Backend, spec: JobSpec
    ) -> None:
        wrong = dataclasses.replace(spec, hyperparameters={"no_such_hyperparameter": 1})
        problems = backend.validate(wrong)
        assert any("no_such_hyperparameter" in f"{p.field} {p.message}" for p in problems)
        assert all(problem.fix for problem in problems)


class CreateTests(Base):
    """One key, one job."""

    def test_upload_twice_with_one_key_leaves_one_file(
        self, backend: Backend, provider: ProviderAdapter, spec: JobSpec, files: Handle
    ) -> None:
        count = provider.count_files()
        assert count > 0
        again = upload(backend, provider, spec, KEY)
        assert provider.count_files() == count
        assert again.id == files.id

    def test_upload_of_another_key_is_another_file(
        self, backend: Backend, provider: ProviderAdapter, spec: JobSpec, files: Handle
    ) -> None:
        other = upload(backend, provider, spec, f"{KEY}-other")
        assert other.id != files.id

    def test_upload_is_unpaid(self, provider: ProviderAdapter, files: Handle) -> None:
        assert files.kind == "upload"
        assert provider.paid_requests() == 0

    def test_create_sends_one_paid_request(
        self, backend: Backend, provider: ProviderAdapter, spec: JobSpec, files: Handle
    ) -> None:
        before = provider.paid_requests()
        with no_sleep() as slept:
            handle = backend.create(spec, files, key=KEY)
        assert provider.paid_requests() == before + 1
        assert provider.count_jobs(KEY) == 1
        assert handle.kind == "job"
        assert handle.id
        assert slept == []

    def test_create_is_not_resent_after_500(
        self, backend: Backend, provider: ProviderAdapter, spec: JobSpec, files: Handle
    ) -> None:
        before = provider.paid_requests()
        provider.fail_before_create()
        with no_sleep() as slept, pytest.raises(OutcomeUnknown):
            backend.create(spec, files, key=KEY)
        assert provider.paid_requests() == before + 1
        assert provider.count_jobs(KEY) == 0
        assert slept == []

    @pytest.mark.parametrize("fault", ["fail_after_create", "lose_reply"])
    def test_lost_reply_is_found_once(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        spec: JobSpec,
        files: Handle,
        fault: str,
    ) -> None:
        before = provider.paid_requests()
        getattr(provider, fault)()
        with no_sleep() as slept, pytest.raises(OutcomeUnknown):
            backend.create(spec, files, key=KEY)
        assert slept == []
        assert provider.paid_requests() == before + 1
        assert provider.count_jobs(KEY) == 1
        found = find(provider.fresh_backend(), provider, KEY, files)
        assert isinstance(found, Found)
        assert found.surplus == ()
        backend.poll(found.handle)
        assert provider.count_jobs(KEY) == 1

    def test_rate_limited_create_is_not_resent(
        self, backend: Backend, provider: ProviderAdapter, spec: JobSpec, files: Handle
    ) -> None:
        before = provider.paid_requests()
        provider.rate_limit(7)
        with no_sleep() as slept, pytest.raises(BackendError):
            backend.create(spec, files, key=KEY)
        assert provider.paid_requests() <= before + 1
        assert provider.count_jobs(KEY) == 0
        assert slept == []

    def test_created_job_is_found_by_key(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        files: Handle,
        job: Handle,
    ) -> None:
        found = find(backend, provider, KEY, files)
        assert isinstance(found, Found)
        assert (found.handle.id, found.surplus) == (job.id, ())

    def test_job_of_another_key_is_not_found(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        spec: JobSpec,
        job: Handle,
    ) -> None:
        other = f"{KEY}-other"
        files = upload(backend, provider, spec, other)
        assert provider.count_jobs(KEY) == 1, f"{job.id} was not created under its key"
        assert isinstance(find(backend, provider, other, files), Absent)

    def test_second_job_of_one_key_is_never_hidden(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        spec: JobSpec,
        files: Handle,
        job: Handle,
    ) -> None:
        provider.wait(provider.backend_spec.capabilities.list_lag + 1)
        second = backend.create(spec, files, key=KEY)
        found = find(backend, provider, KEY, files)
        assert isinstance(found, Found)
        ids = [found.handle.id, *(handle.id for handle in found.surplus)]
        assert len(ids) == provider.count_jobs(KEY)
        assert sorted(set(ids)) == sorted({job.id, second.id})
