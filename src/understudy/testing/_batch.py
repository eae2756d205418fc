"""The suite on batches, for backends that answer many requests offline."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from understudy.backend import Backend, Capabilities, SupportsBatch
from understudy.errors import DataError, NotFound, OutcomeUnknown, RateLimited, TransientError
from understudy.model import (
    Absent,
    BatchReply,
    BatchSpec,
    BatchStatus,
    ChatRequest,
    Found,
    Handle,
    JobSpec,
    RemoteState,
    UploadPending,
    UploadReady,
)
from understudy.testing._base import KEY, Base, need
from understudy.testing._guards import no_network, no_sleep
from understudy.testing._poll import rebuilt
from understudy.testing.provider import ProviderAdapter

__all__ = ["BatchTests"]

B_KEY = f"{KEY}.batch.1"
_COUNT = 12
_NAMES = {f"row-{number}" for number in range(_COUNT)}


def _asked(model: str, number: int) -> ChatRequest:
    message = {"role": "user", "content": f"where is parcel {number}?"}
    return ChatRequest(model=model, messages=(message,))


def _uploaded(
    backend: SupportsBatch, provider: ProviderAdapter, spec: BatchSpec, key: str
) -> Handle:
    handle = backend.upload_batch(spec, key=key)
    for _ in range(20):
        status = backend.poll_batch_upload(handle)
        if not isinstance(status, UploadPending):
            break
        provider.wait(status.retry_after or 1)
    assert isinstance(status, UploadReady), f"the upload ended as {status}"
    return handle


def _found(backend: SupportsBatch, provider: ProviderAdapter, key: str, files: Handle) -> object:
    provider.wait(provider.backend_spec.capabilities.list_lag + 1)
    return backend.find_batch(key, files)


def _ended(backend: SupportsBatch, provider: ProviderAdapter, handle: Handle) -> BatchStatus:
    for _ in range(200):
        status = backend.poll_batch(handle)
        if status.state.terminal:
            return status
        provider.wait(5)
    pytest.fail(f"after two hundred looks {handle.id} is still {status.raw}")


def _replies(backend: SupportsBatch, handle: Handle, folder: Path) -> Mapping[str, BatchReply]:
    found: dict[str, BatchReply] = {}
    for path in backend.fetch_batch(handle, folder).paths:
        with Path(path).open("rb") as lines:
            for line in lines:
                reply = backend.batch_reply(json.loads(line))
                assert reply.custom_id not in found, f"{reply.custom_id} came back twice"
                found[reply.custom_id] = reply
    return found


class BatchTests(Base):
    """One key, one batch; every row is accounted for."""

    @pytest.fixture
    def batcher(self, backend: Backend, capabilities: Capabilities) -> SupportsBatch:
        """The backend, where it takes batches."""
        need(capabilities.batch)
        assert isinstance(backend, SupportsBatch)
        return backend

    @pytest.fixture
    def batch_spec(
        self, batcher: SupportsBatch, provider: ProviderAdapter, spec: JobSpec, tmp_path: Path
    ) -> BatchSpec:
        """A file of twelve questions."""
        assert isinstance(batcher, Backend)
        model = provider.batch_model(batcher, spec)
        rows = [batcher.batch_row(_asked(model, i), custom_id=f"row-{i}") for i in range(_COUNT)]
        data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        path = tmp_path / "batch.jsonl"
        path.write_bytes(data)
        return BatchSpec(
            model=model,
            path=str(path),
            sha256=hashlib.sha256(data).hexdigest(),
            requests=_COUNT,
            bytes=len(data),
            tokens=_COUNT * 20,
            metadata={"run": "conformance"},
        )

    @pytest.fixture
    def batch_files(
        self, batcher: SupportsBatch, provider: ProviderAdapter, batch_spec: BatchSpec
    ) -> Handle:
        """The file, uploaded and taken in."""
        return _uploaded(batcher, provider, batch_spec, B_KEY)

    @pytest.fixture
    def batch(self, batcher: SupportsBatch, batch_spec: BatchSpec, batch_files: Handle) -> Handle:
        """Its batch, started under ``B_KEY``."""
        return batcher.start_batch(batch_spec, batch_files, key=B_KEY)

    def test_batch_limits_are_offline_and_say_their_source(
        self, batcher: SupportsBatch, provider: ProviderAdapter, batch_spec: BatchSpec
    ) -> None:
        before = provider.requests()
        with no_network() as tried:
            limits = batcher.batch_limits(batch_spec.model)
        assert (provider.requests(), tried) == (before, [])
        assert min(limits.requests, limits.bytes, limits.models) > 0
        assert limits.source

    def test_batch_row_is_pure_json_with_the_texts_as_given(
        self, batcher: SupportsBatch, provider: ProviderAdapter, batch_spec: BatchSpec
    ) -> None:
        before = provider.requests()
        asked = _asked(batch_spec.model, 7)
        with no_network() as tried:
            row = batcher.batch_row(asked, custom_id="row-x")
            again = batcher.batch_row(asked, custom_id="row-x")
        assert (provider.requests(), tried) == (before, [])
        assert row == again
        text = json.dumps(row)
        assert "where is parcel 7?" in text
        assert text.count("row-x") == 1

    def test_batch_reply_refuses_a_row_that_names_no_request(self, batcher: SupportsBatch) -> None:
        nameless: tuple[object, ...] = ({}, [], None)
        for row in nameless:
            with pytest.raises(DataError):
                batcher.batch_reply(row)

    def test_batch_upload_twice_with_one_key_leaves_one_file(
        self,
        batcher: SupportsBatch,
        provider: ProviderAdapter,
        batch_spec: BatchSpec,
        batch_files: Handle,
    ) -> None:
        count, paid = provider.count_files(), provider.paid_requests()
        assert _uploaded(batcher, provider, batch_spec, B_KEY).id == batch_files.id
        assert provider.count_files() == count
        assert _uploaded(batcher, provider, batch_spec, f"{B_KEY}-other").id != batch_files.id
        assert provider.paid_requests() == paid

    def test_batch_is_one_paid_request_that_waits_for_nothing(
        self,
        batcher: SupportsBatch,
        provider: ProviderAdapter,
        batch_spec: BatchSpec,
        batch_files: Handle,
    ) -> None:
        before = provider.paid_requests()
        with no_sleep() as slept:
            handle = batcher.start_batch(batch_spec, batch_files, key=B_KEY)
        assert provider.paid_requests() == before + 1
        assert provider.count_batches(B_KEY) == 1
        assert handle.kind == "batch"
        assert slept == []

    @pytest.mark.parametrize("fault", ["fail_after_batch", "lose_batch_reply"])
    def test_lost_reply_of_a_batch_is_found_once(
        self,
        batcher: SupportsBatch,
        provider: ProviderAdapter,
        batch_spec: BatchSpec,
        batch_files: Handle,
        fault: str,
    ) -> None:
        before = provider.paid_requests()
        getattr(provider, fault)()
        with no_sleep() as slept, pytest.raises(OutcomeUnknown):
            batcher.start_batch(batch_spec, batch_files, key=B_KEY)
        assert slept == []
        assert provider.paid_requests() == before + 1
        fresh = provider.fresh_backend()
        assert isinstance(fresh, SupportsBatch)
        found = _found(fresh, provider, B_KEY, batch_files)
        assert isinstance(found, Found)
        assert found.surplus == ()
        assert fresh.poll_batch(found.handle).raw
        assert provider.count_batches(B_KEY) == 1

    def test_rate_limited_batch_is_not_resent(
        self,
        batcher: SupportsBatch,
        provider: ProviderAdapter,
        batch_spec: BatchSpec,
        batch_files: Handle,
    ) -> None:
        before = provider.paid_requests()
        provider.rate_limit(7)
        with no_sleep() as slept, pytest.raises(RateLimited):
            batcher.start_batch(batch_spec, batch_files, key=B_KEY)
        assert provider.paid_requests() <= before + 1
        assert provider.count_batches(B_KEY) == 0
        assert slept == []

    def test_batch_of_another_key_is_not_found(
        self,
        batcher: SupportsBatch,
        provider: ProviderAdapter,
        batch_spec: BatchSpec,
        batch: Handle,
    ) -> None:
        other = _uploaded(batcher, provider, batch_spec, f"{B_KEY}-other")
        assert provider.count_batches(B_KEY) == 1, f"{batch.id} was not started under its key"
        assert isinstance(_found(batcher, provider, f"{B_KEY}-other", other), Absent)

    def test_second_batch_of_one_key_is_never_hidden(
        self,
        batcher: SupportsBatch,
        provider: ProviderAdapter,
        batch_spec: BatchSpec,
        batch_files: Handle,
        batch: Handle,
    ) -> None:
        second = batcher.start_batch(batch_spec, batch_files, key=B_KEY)
        found = _found(batcher, provider, B_KEY, batch_files)
        assert isinstance(found, Found)
        ids = [found.handle.id, *(handle.id for handle in found.surplus)]
        # Where a key has one place, the second start is the first batch.
        assert sorted(ids) == sorted({batch.id, second.id})

    def test_poll_of_a_batch_looks_once_and_never_sleeps(
        self, batcher: SupportsBatch, provider: ProviderAdapter, batch: Handle
    ) -> None:
        before = provider.requests()
        with no_sleep() as slept:
            status = batcher.poll_batch(batch)
        assert provider.requests() - before <= 1
        assert slept == []
        assert status.raw
        assert not status.state.terminal, "it cannot have ended in the moment it was asked for"

    def test_missing_batch_is_not_found(self, batcher: SupportsBatch) -> None:
        with pytest.raises(NotFound):
            batcher.poll_batch(Handle(kind="batch", id="batch_that_never_was"))

    def test_batch_gives_every_row_back_once(
        self, batcher: SupportsBatch, provider: ProviderAdapter, batch: Handle, tmp_path: Path
    ) -> None:
        assert _ended(batcher, provider, batch).state is RemoteState.SUCCEEDED
        found = _replies(batcher, batch, tmp_path / "back")
        assert set(found) == _NAMES
        for reply in found.values():
            assert reply.outcome == "answered"
            assert reply.reply is not None
            assert reply.reply.message["role"] == "assistant"
            assert reply.reply.usage.input > 0 or reply.reply.usage_counted_here

    def test_batch_over_the_quota_says_so(
        self,
        batcher: SupportsBatch,
        provider: ProviderAdapter,
        batch_spec: BatchSpec,
        batch_files: Handle,
    ) -> None:
        provider.starve_batch()
        handle = batcher.start_batch(batch_spec, batch_files, key=B_KEY)
        status = _ended(batcher, provider, handle)
        assert (status.state, status.over_quota) == (RemoteState.FAILED, True)
        assert status.problem is not None
        assert status.problem.message

    def test_expired_batch_keeps_its_part(
        self,
        batcher: SupportsBatch,
        provider: ProviderAdapter,
        batch_spec: BatchSpec,
        batch_files: Handle,
        tmp_path: Path,
    ) -> None:
        provider.expire_batch()
        handle = batcher.start_batch(batch_spec, batch_files, key=B_KEY)
        status = _ended(batcher, provider, handle)
        assert (status.state, status.over_quota) == (RemoteState.SUCCEEDED, False)
        found = _replies(batcher, handle, tmp_path / "back")
        assert set(found) <= _NAMES
        outcomes = [one.outcome for one in found.values()]
        assert 0 < outcomes.count("answered") < _COUNT
        assert set(outcomes) <= {"answered", "retry"}

    def test_batch_may_be_cancelled_twice_and_keeps_its_part(
        self, batcher: SupportsBatch, provider: ProviderAdapter, batch: Handle, tmp_path: Path
    ) -> None:
        for _ in range(2):
            batcher.cancel_batch(batch)
        assert _ended(batcher, provider, batch).state is RemoteState.CANCELLED
        batcher.cancel_batch(batch)
        assert set(_replies(batcher, batch, tmp_path / "back")) < _NAMES

    def test_broken_download_goes_on_and_is_whole(
        self, batcher: SupportsBatch, provider: ProviderAdapter, batch: Handle, tmp_path: Path
    ) -> None:
        _ended(batcher, provider, batch)
        provider.break_download()
        with pytest.raises(TransientError):
            batcher.fetch_batch(batch, tmp_path / "back")
        assert set(_replies(batcher, batch, tmp_path / "back")) == _NAMES

    def test_fetched_files_are_not_fetched_again(
        self, batcher: SupportsBatch, provider: ProviderAdapter, batch: Handle, tmp_path: Path
    ) -> None:
        _ended(batcher, provider, batch)
        first = batcher.fetch_batch(batch, tmp_path / "back")
        assert first.gone == ()
        before = [Path(path).stat() for path in first.paths]
        assert batcher.fetch_batch(batch, tmp_path / "back") == first
        after = [Path(path).stat() for path in first.paths]
        assert [(s.st_ino, s.st_mtime_ns) for s in after] == [
            (s.st_ino, s.st_mtime_ns) for s in before
        ]

    def test_files_that_are_gone_are_named(
        self, batcher: SupportsBatch, provider: ProviderAdapter, batch: Handle, tmp_path: Path
    ) -> None:
        _ended(batcher, provider, batch)
        provider.lose_batch_files(batch)
        found = batcher.fetch_batch(batch, tmp_path / "back")
        assert found.paths == ()
        assert found.gone

    def test_batchs_handle_survives_json_and_a_new_process(
        self, provider: ProviderAdapter, batch: Handle, tmp_path: Path
    ) -> None:
        assert rebuilt(batch) == batch
        fresh = provider.fresh_backend()
        assert isinstance(fresh, SupportsBatch)
        assert _ended(fresh, provider, rebuilt(batch)).state is RemoteState.SUCCEEDED
        assert set(_replies(fresh, rebuilt(batch), tmp_path / "back")) == _NAMES
