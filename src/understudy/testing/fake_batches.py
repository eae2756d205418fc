"""A provider in memory that answers batches: files up, one create, files back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.testing.fake_provider import FakeHTTPError, FakeProvider

__all__ = ["BATCH_SCRIPT", "BatchingFakeProvider"]

BATCH_SCRIPT: tuple[tuple[float, str], ...] = (
    (0, "validating"),
    (5, "in_progress"),
    (60, "completed"),
)
"""Seconds after the create from which a batch says a status."""
_ENDED = ("completed", "expired", "failed", "cancelled")
_PIECE = 512


@dataclass(kw_only=True)
class _Batch:
    id: str
    body: dict[str, Any]
    created_at: float
    script: Sequence[tuple[float, str]]
    share: float = 1.0
    error: str | None = None
    files: tuple[str | None, str | None] | None = None


@dataclass(kw_only=True)
class BatchingFakeProvider(FakeProvider):
    """A ``FakeProvider`` that takes batches.

    Args:
        batch_script: the life of every batch that nothing happens to.
        enqueued: how many requests of unfinished batches fit; more fail after their create.
        expires: share of the rows done when the batches created from now on expire; None where
            they do not.
        lost_rows: custom ids of rows that no batch gives back.

    ``answered`` counts how often each custom id was answered, and so billed.
    """

    batch_script: Sequence[tuple[float, str]] = BATCH_SCRIPT
    enqueued: int = 1_000_000
    expires: float | None = None
    lost_rows: set[str] = field(default_factory=set)
    answered: dict[str, int] = field(default_factory=dict, repr=False)
    batches: dict[str, _Batch] = field(default_factory=dict, repr=False)
    contents: dict[str, bytes] = field(default_factory=dict, repr=False)
    cut: bool = False

    # What tests provoke and look at.

    def batches_of(self, key: str) -> list[str]:
        """Ids of the batches created under ``key``, oldest first."""
        with self.lock:
            return [b.id for b in self.batches.values() if b.body["metadata"]["key"] == key]

    def cut_download(self) -> None:
        """Break the next download off after its first piece."""
        self.cut = True

    def drop_files(self, batch_id: str) -> None:
        """Delete what a batch that has ended gave back."""
        with self.lock:
            for name in self._files(self.batches[batch_id]):
                if name is not None:
                    del self.contents[name]

    # The wire.

    def upload(self, api_key: str, name: str, data: bytes) -> dict[str, Any]:
        """POST /files: the contents are kept."""
        file = super().upload(api_key, name, data)
        self.contents[str(file["id"])] = data
        return file

    def create_batch(self, api_key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /batches: the one request that costs money."""
        with self.lock:
            self.paid_requests += 1
        with self._request(api_key, create=True):
            batch = _Batch(
                id=f"batch-{len(self.batches) + 1}",
                body=dict(body),
                created_at=self.clock.now(),
                script=self.batch_script,
            )
            if self.expires is not None:
                ended = (self.batch_script[-1][0], "expired")
                batch.script, batch.share = (*self.batch_script[:-1], ended), self.expires
            live = [one for one in self.batches.values() if self._said(one) not in _ENDED]
            rows = sum(len(self._lines(one)) for one in (*live, batch))
            if rows > self.enqueued:
                batch.script, batch.error = ((0, "validating"), (5, "failed")), "over_quota"
            self.batches[batch.id] = batch
            return self._shown(batch)

    def batch(self, api_key: str, batch_id: str) -> dict[str, Any]:
        """GET /batches/{id}."""
        with self._request(api_key):
            if batch_id not in self.batches:
                raise FakeHTTPError(404, f"{batch_id} does not exist")
            return self._shown(self.batches[batch_id])

    def list_batches(self, api_key: str) -> list[dict[str, Any]]:
        """GET /batches, newest first, without those that are younger than ``list_lag``."""
        with self._request(api_key):
            seen = self.clock.now() - self.list_lag
            return [self._shown(b) for b in reversed(self.batches.values()) if b.created_at <= seen]

    def cancel_batch(self, api_key: str, batch_id: str) -> dict[str, Any]:
        """POST /batches/{id}/cancel: what was done is given back; one that ended answers 409."""
        with self._request(api_key):
            batch = self.batches[batch_id]
            if self._said(batch) in _ENDED:
                raise FakeHTTPError(409, f"{batch_id} has ended")
            if self._said(batch) != "cancelling":
                age = self.clock.now() - batch.created_at
                batch.share = min(1.0, age / self.batch_script[-1][0])
                batch.script = ((0, "validating"), (age, "cancelling"), (age + 5, "cancelled"))
            return self._shown(batch)

    def read_file(self, api_key: str, file_id: str, start: int) -> bytes:
        """GET /files/{id}/content from a byte on, a piece at a time; empty at its end."""
        with self._request(api_key):
            if file_id not in self.contents:
                raise FakeHTTPError(404, f"{file_id} does not exist")
            if self.cut and start:
                self.cut = False
                raise FakeHTTPError(502, "the download broke off")
            return self.contents[file_id][start : start + _PIECE]

    def _said(self, batch: _Batch) -> str:
        age = self.clock.now() - batch.created_at
        return [raw for after, raw in batch.script if after <= age][-1]

    def _shown(self, batch: _Batch) -> dict[str, Any]:
        status = self._said(batch)
        output, errors = self._files(batch) if status in _ENDED else (None, None)
        return {
            **batch.body,
            "id": batch.id,
            "status": status,
            "created_at": batch.created_at,
            "error": batch.error if status == "failed" else None,
            "total": len(self._lines(batch)),
            "output": output,
            "errors": errors,
        }

    def _lines(self, batch: _Batch) -> list[dict[str, Any]]:
        data = self.contents[batch.body["input_file"]]
        return [json.loads(line) for line in data.splitlines()]

    def _files(self, batch: _Batch) -> tuple[str | None, str | None]:
        if batch.files is None:
            rows = [] if batch.error else self._lines(batch)
            done = round(len(rows) * batch.share)
            good = [self._answer(row) for row in rows[:done]]
            late = rows[done:] if self._said(batch) == "expired" else []
            bad = [{"custom_id": row["custom_id"], "error": "expired"} for row in late]
            output, errors = (
                self._keep(f"{batch.id}-{what}", [r for r in found if self._comes(r)])
                for what, found in (("output", good), ("errors", bad))
            )
            batch.files = output, errors
        return batch.files

    def _comes(self, row: Mapping[str, Any]) -> bool:
        return row["custom_id"] not in self.lost_rows

    def _answer(self, row: Mapping[str, Any]) -> dict[str, Any]:
        name = str(row["custom_id"])
        self.answered[name] = self.answered.get(name, 0) + 1
        last = str(row["body"]["messages"][-1].get("content", ""))
        words = max(1, len(last.split()))
        answer = {"content": last, "model": row["body"]["model"], "input": words, "output": words}
        return {"custom_id": name, "answer": answer, "error": None}

    def _keep(self, name: str, rows: Sequence[Mapping[str, Any]]) -> str | None:
        if not rows:
            return None
        self.contents[name] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        return name
