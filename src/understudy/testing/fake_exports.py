"""A provider in memory whose models are files: they answer once they were exported."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.testing.fake_provider import FakeHTTPError, FakeProvider

__all__ = ["EXPORT_SCRIPT", "FORMATS", "ExportingFakeProvider"]

FORMATS = ("f16", "q8_0", "q4_k_m")

EXPORT_SCRIPT: tuple[tuple[float, str], ...] = (
    (0, "waiting"),
    (5, "converting"),
    (20, "done"),
)
"""Seconds after the start from which an export says a status."""


@dataclass(kw_only=True)
class _Export:
    key: str
    body: Mapping[str, Any]
    created_at: float
    trouble: str | None = None


@dataclass(kw_only=True)
class ExportingFakeProvider(FakeProvider):
    """A ``FakeProvider`` of files: a model is asked as ``MODEL:FORMAT``.

    Args:
        export_script: the life of every export that does not fail.
        garbled: formats of files that are made and talk nonsense.
        breaks: why the next exports fail; None where they do not.
    """

    export_script: Sequence[tuple[float, str]] = EXPORT_SCRIPT
    garbled: set[str] = field(default_factory=set)
    breaks: str | None = None
    exports: dict[str, _Export] = field(default_factory=dict, repr=False)

    def break_down(self, key: str) -> None:
        """Let an export say that it failed."""
        with self.lock:
            self.exports[key].trouble = "the disk is full; free 2 GB"

    # The wire.

    def start_export(self, api_key: str, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT /exports/{key}: starts it, or shows the one that is there."""
        with self.lock:
            self.paid_requests += 1
        with self._request(api_key, create=True):
            unknown = set(body["formats"]) - set(FORMATS)
            if unknown:
                raise FakeHTTPError(400, f"no format {min(unknown)}")
            if key not in self.exports:
                self.exports[key] = _Export(
                    key=key, body=dict(body), created_at=self.clock.now(), trouble=self.breaks
                )
            return self._told(self.exports[key])

    def export(self, api_key: str, key: str) -> dict[str, Any]:
        """GET /exports/{key}."""
        with self._request(api_key):
            if key not in self.exports:
                raise FakeHTTPError(404, f"there is no export {key}")
            return self._told(self.exports[key])

    def answers(self, api_key: str, key: str, source: str) -> list[str]:
        """GET /exports/{key}/answers/{source}."""
        with self._request(api_key):
            one = self.exports[key]
            if source in self.garbled:
                return ["nonsense"] * len(one.body["questions"])
            return [self.said(one.body["model"], text) for text in one.body["questions"]]

    def said(self, model: str, question: str) -> str:  # noqa: ARG002
        """What a model says to a question: it repeats it."""
        return question

    def chat(self, api_key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /chat: of fine-tuned models only files answer."""
        model, _, name = str(body["model"]).rpartition(":")
        if str(body["model"]).startswith("ft:"):
            with self.lock:
                there = any(
                    one.body["model"] == model
                    and name in one.body["formats"]
                    and self._export_status(one) == "done"
                    for one in self.exports.values()
                )
            if not there:
                with self._request(api_key):
                    raise FakeHTTPError(404, f"there is no file {body['model']}")
            body = {**body, "model": model}
        return super().chat(api_key, body)

    def _export_status(self, one: _Export) -> str:
        age = self.clock.now() - one.created_at
        raw = [raw for after, raw in self.export_script if after <= age][-1]
        return "broken" if one.trouble and age > 0 else raw

    def _told(self, one: _Export) -> dict[str, Any]:
        status = self._export_status(one)
        names = one.body["formats"] if status == "done" else ()
        return {
            "key": one.key,
            "status": status,
            "model": one.body["model"],
            "serve": one.body["serve"],
            "error": one.trouble if status == "broken" else None,
            "files": [
                {
                    "format": name,
                    "path": f"/fake/{one.key}/{name}",
                    "sha256": hashlib.sha256(f"{one.body['model']} {name}".encode()).hexdigest(),
                    "bytes": 1000,
                }
                for name in names
            ],
        }
