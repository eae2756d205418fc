"""The suite on secrets and row text: planted, and looked for everywhere."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from understudy.backend import Backend, SupportsDoctor
from understudy.errors import AuthError
from understudy.model import Handle, JobSpec, RemoteState
from understudy.testing._base import KEY, Base, raw_for, upload
from understudy.testing._guards import leaks, logged, row_texts, told
from understudy.testing.provider import ProviderAdapter

__all__ = ["SecretTests"]


class SecretTests(Base):
    """No credential and no row text leaves its place."""

    def test_no_secret_in_reprs(self, backend: Backend, provider: ProviderAdapter) -> None:
        seen = f"{backend!r} {backend} {backend.settings!r} {backend.settings}"
        assert leaks(seen, [provider.secret]) == []
        assert provider.secret not in backend.settings.model_dump_json()

    def test_no_secret_in_handles_and_statuses(
        self, backend: Backend, provider: ProviderAdapter, spec: JobSpec, files: Handle, job: Handle
    ) -> None:
        forbidden = [provider.secret, *row_texts(spec)]
        provider.make_status(job, raw_for(provider, RemoteState.FAILED))
        status = backend.poll(job)
        seen = f"{files!r} {job!r} {status!r} {dataclasses.asdict(job)}"
        assert leaks(seen, forbidden) == []

    def test_echoed_secret_is_not_in_the_error(
        self, backend: Backend, provider: ProviderAdapter, job: Handle
    ) -> None:
        provider.echo_secret()
        with pytest.raises(AuthError) as caught:
            backend.poll(job)
        assert leaks(told(caught.value), [provider.secret]) == []

    def test_echoed_secret_is_not_in_the_error_of_a_create(
        self, backend: Backend, provider: ProviderAdapter, spec: JobSpec, files: Handle
    ) -> None:
        provider.echo_secret()
        with pytest.raises(AuthError) as caught:
            backend.create(spec, files, key=KEY)
        assert leaks(told(caught.value), [provider.secret]) == []

    def test_nothing_leaks_into_logs(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        spec: JobSpec,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            files = upload(backend, provider, spec, KEY)
            job = backend.create(spec, files, key=KEY)
            backend.poll(job)
            provider.echo_secret()
            with pytest.raises(AuthError):
                backend.poll(job)
        assert leaks(logged(caplog.records), [provider.secret, *row_texts(spec)]) == []

    def test_doctor_says_what_to_do(self, backend: Backend, provider: ProviderAdapter) -> None:
        if not isinstance(backend, SupportsDoctor):
            pytest.skip("the backend has no doctor")
        well = list(backend.doctor())
        provider.echo_secret()
        ill = list(backend.doctor())
        assert well
        assert all(check.ok for check in well)
        assert any(not check.ok for check in ill)
        assert all(check.fix for check in ill if not check.ok)
        assert leaks(repr((well, ill)), [provider.secret]) == []
