"""The suite on looking at jobs, handles and optional traits."""

from __future__ import annotations

import dataclasses
import json

import pytest

from understudy import backend as contract
from understudy.backend import Backend, Capabilities
from understudy.errors import NotFound, RateLimited
from understudy.model import ChatRequest, Handle, JobSpec, RemoteState, UploadReady
from understudy.testing._base import KEY, Base, need, raw_for, upload
from understudy.testing._guards import no_network, no_sleep
from understudy.testing.provider import ProviderAdapter

__all__ = ["PollTests", "TraitTests"]

_STOPPED = {RemoteState.CANCELLING, RemoteState.CANCELLED}


def rebuilt(handle: Handle) -> Handle:
    """``handle`` as another process reads it from the store."""
    text = json.dumps(dataclasses.asdict(handle))
    assert len(text) < 4096, "a handle is small"
    return Handle(**json.loads(text))


class PollTests(Base):
    """One look, no sleep, no guess."""

    def test_poll_looks_once_and_never_sleeps(
        self, backend: Backend, provider: ProviderAdapter, job: Handle
    ) -> None:
        before = provider.requests()
        with no_sleep() as slept:
            status = backend.poll(job)
        assert provider.requests() - before <= 1
        assert slept == []
        assert not status.state.terminal

    def test_rate_limit_is_reported_and_not_waited_for(
        self, backend: Backend, provider: ProviderAdapter, job: Handle
    ) -> None:
        before = provider.requests()
        provider.rate_limit(600)
        with no_sleep() as slept, pytest.raises(RateLimited) as caught:
            backend.poll(job)
        assert caught.value.retry_after == 600
        assert provider.requests() - before == 1
        assert slept == []

    def test_every_documented_status_is_mapped(
        self, backend: Backend, provider: ProviderAdapter, job: Handle
    ) -> None:
        meanings = set(provider.statuses.values())
        assert {RemoteState.RUNNING, RemoteState.SUCCEEDED, RemoteState.FAILED} <= meanings
        # Ended ones last: some providers never let a job leave such a status.
        for raw, state in sorted(provider.statuses.items(), key=lambda item: item[1].terminal):
            provider.make_status(job, raw)
            status = backend.poll(job)
            assert (status.raw, status.state) == (raw, state)

    def test_unknown_status_is_unknown(
        self, backend: Backend, provider: ProviderAdapter, job: Handle
    ) -> None:
        provider.make_status(job, "no_such_status_yet")
        status = backend.poll(job)
        assert status.state is RemoteState.UNKNOWN
        assert status.raw == "no_such_status_yet"

    def test_cancelled_is_never_failed(
        self, backend: Backend, provider: ProviderAdapter, job: Handle
    ) -> None:
        provider.make_status(job, raw_for(provider, RemoteState.CANCELLED))
        assert backend.poll(job).state is RemoteState.CANCELLED

    def test_failed_job_says_why(
        self, backend: Backend, provider: ProviderAdapter, job: Handle
    ) -> None:
        provider.make_status(job, raw_for(provider, RemoteState.FAILED))
        status = backend.poll(job)
        assert status.problem is not None
        assert status.problem.message

    @pytest.mark.parametrize("state", [s for s in RemoteState if s.terminal], ids=str)
    def test_terminal_states_stay(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        capabilities: Capabilities,
        job: Handle,
        state: RemoteState,
    ) -> None:
        provider.make_status(job, raw_for(provider, state))
        assert backend.poll(job).state is state
        if capabilities.cancel.ok:
            assert isinstance(backend, contract.SupportsCancel)
            backend.cancel(job)
        provider.wait(3600)
        assert provider.fresh_backend().poll(job).state is state

    def test_missing_job_is_not_found(self, backend: Backend, job: Handle) -> None:
        gone = dataclasses.replace(job, id=f"{job.id[:-1]}{'1' if job.id[-1] == '0' else '0'}9")
        with pytest.raises(NotFound):
            backend.poll(gone)

    def test_handles_survive_json_and_a_new_process(
        self, backend: Backend, provider: ProviderAdapter, files: Handle, job: Handle
    ) -> None:
        assert rebuilt(files) == files
        assert rebuilt(job) == job
        fresh = provider.fresh_backend()
        assert isinstance(fresh.poll_upload(rebuilt(files)), UploadReady)
        assert fresh.poll(rebuilt(job)).state is backend.poll(job).state

    def test_model_is_there_once_it_succeeded(
        self, backend: Backend, provider: ProviderAdapter, job: Handle
    ) -> None:
        with pytest.raises(NotFound):
            backend.model(job)
        provider.make_status(job, raw_for(provider, RemoteState.SUCCEEDED))
        model = backend.model(rebuilt(job))
        assert model.id
        assert model.base_model
        assert model.backend == backend.name


class TraitTests(Base):
    """Each optional trait, where the backend says that it has it."""

    def test_poll_many_agrees_with_poll_in_fewer_requests(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        capabilities: Capabilities,
        spec: JobSpec,
        job: Handle,
    ) -> None:
        need(capabilities.poll_many)
        assert isinstance(backend, contract.SupportsPollMany)
        jobs = [job]
        for number in range(2):
            files = upload(backend, provider, spec, f"{KEY}-{number}")
            jobs.append(backend.create(spec, files, key=f"{KEY}-{number}"))
        provider.make_status(jobs[1], raw_for(provider, RemoteState.CANCELLED))
        provider.wait(capabilities.list_lag + 1)
        before = provider.requests()
        with no_sleep() as slept:
            many = backend.poll_many(jobs)
        assert provider.requests() - before < len(jobs)
        assert slept == []
        alone = {handle.id: backend.poll(handle).state for handle in jobs}
        # One that has ended may be left out: some lists do not tell all of it.
        live = {name for name, state in alone.items() if not state.terminal}
        assert live <= set(many) <= set(alone)
        assert {name: status.state for name, status in many.items()}.items() <= alone.items()

    def test_cancel_ends_in_cancelled_and_may_be_repeated(
        self, backend: Backend, capabilities: Capabilities, job: Handle
    ) -> None:
        need(capabilities.cancel)
        assert isinstance(backend, contract.SupportsCancel)
        backend.cancel(job)
        assert backend.poll(job).state in _STOPPED
        backend.cancel(job)
        assert backend.poll(job).state in _STOPPED

    def test_pause_and_resume_may_be_repeated(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        capabilities: Capabilities,
        job: Handle,
    ) -> None:
        need(capabilities.pause)
        assert isinstance(backend, contract.SupportsPause)
        provider.make_status(job, raw_for(provider, RemoteState.RUNNING))
        for _ in range(2):
            backend.pause(job)
            provider.make_status(job, raw_for(provider, RemoteState.PAUSED))
            assert backend.poll(job).state is RemoteState.PAUSED
        for _ in range(2):
            backend.resume(job)
            provider.make_status(job, raw_for(provider, RemoteState.RUNNING))
            assert backend.poll(job).state is RemoteState.RUNNING

    def test_events_are_oldest_first_and_go_on_after_an_id(
        self, backend: Backend, provider: ProviderAdapter, capabilities: Capabilities, job: Handle
    ) -> None:
        need(capabilities.events)
        assert isinstance(backend, contract.SupportsEvents)
        provider.wait(3600)
        events = list(backend.events(job, after=None))
        assert events
        assert [e.at for e in events] == sorted(e.at for e in events)
        assert len({e.id for e in events}) == len(events)
        assert list(backend.events(job, after=events[0].id)) == events[1:]
        assert list(backend.events(job, after=events[-1].id)) == []

    def test_checkpoints_are_in_order(
        self, backend: Backend, provider: ProviderAdapter, capabilities: Capabilities, job: Handle
    ) -> None:
        need(capabilities.checkpoints)
        assert isinstance(backend, contract.SupportsCheckpoints)
        assert backend.checkpoints(job) == []
        provider.make_status(job, raw_for(provider, RemoteState.SUCCEEDED))
        points = backend.checkpoints(job)
        assert [p.step for p in points] == sorted({p.step for p in points})
        assert all(point.model for point in points)

    def test_estimate_is_offline_and_bounded(
        self, backend: Backend, capabilities: Capabilities, spec: JobSpec
    ) -> None:
        need(capabilities.estimate)
        assert isinstance(backend, contract.SupportsEstimate)
        with no_network() as tried:
            estimate = backend.estimate(spec)
        assert tried == []
        assert 0 < estimate.tokens <= estimate.at_most
        assert estimate.epochs >= 1

    def test_lifecycle_asks_once(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        capabilities: Capabilities,
        spec: JobSpec,
    ) -> None:
        need(capabilities.lifecycle)
        assert isinstance(backend, contract.SupportsLifecycle)
        before = provider.requests()
        life = backend.lifecycle(spec.base_model)
        assert provider.requests() - before <= 1
        assert life.model == spec.base_model
        assert life.source

    def test_list_shows_the_job(
        self, backend: Backend, provider: ProviderAdapter, capabilities: Capabilities, job: Handle
    ) -> None:
        need(capabilities.listing)
        assert isinstance(backend, contract.SupportsList)
        provider.wait(capabilities.list_lag + 1)
        listed = {handle.id: status.state for handle, status in backend.jobs()}
        assert listed[job.id] is backend.poll(job).state

    def test_completion_is_one_request(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        capabilities: Capabilities,
        spec: JobSpec,
    ) -> None:
        need(capabilities.infer)
        assert isinstance(backend, contract.SupportsInfer)
        model = provider.answering(backend, spec)
        request = ChatRequest(model=model, messages=({"role": "user", "content": "hello there"},))
        before = provider.requests()
        with no_sleep() as slept:
            reply = backend.complete(request, timeout=30)
        assert provider.requests() - before == 1
        assert slept == []
        assert reply.message["role"] == "assistant"
        assert reply.usage.input > 0

    def test_rate_limited_completion_is_not_retried(
        self,
        backend: Backend,
        provider: ProviderAdapter,
        capabilities: Capabilities,
        spec: JobSpec,
    ) -> None:
        need(capabilities.infer)
        assert isinstance(backend, contract.SupportsInfer)
        model = provider.answering(backend, spec)
        request = ChatRequest(model=model, messages=({"role": "user", "content": "hi"},))
        before = provider.requests()
        provider.rate_limit(5)
        with no_sleep() as slept, pytest.raises(RateLimited):
            backend.complete(request, timeout=30)
        assert provider.requests() - before == 1
        assert slept == []
