"""Replay of traffic recorded from the sandbox, with sockets blocked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from azure_cassette_kit import FOLDER, SCENARIOS, backend_at
from azure_kit import TOKEN
from openai_cassette_kit import HOST, replayed, taped

TAPES = {name: FOLDER / f"sandbox-{name}.yaml" for name in SCENARIOS}
REPLAY_KEY = "azk-replay-not-a-key"
ROOT = "http://127.0.0.1:1"


@pytest.mark.parametrize("name", SCENARIOS)
def test_replay(name: str, tmp_path: Path, socket_disabled: None) -> None:
    backend = backend_at(ROOT, REPLAY_KEY, name)
    replayed(TAPES[name], SCENARIOS[name], backend, tmp_path)


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_secret_and_no_host_on_the_tape(name: str) -> None:
    text = TAPES[name].read_text(encoding="utf-8")
    assert not re.search(r"(?i)\bsk-|bearer|authorization:|api-key|cookie|access_token|eyJ", text)
    assert TOKEN not in text
    assert "127.0.0.1" not in text
    assert not re.search(r"/(?:tmp|home|root|work)/", text)
    for one in taped(TAPES[name]):
        assert one["request"]["uri"].startswith((f"{HOST}/openai/", f"{HOST}/subscriptions/"))
        assert {field.lower() for field in one["request"]["headers"]} <= {"content-type"}
        told = {field.lower() for field in one["response"]["headers"]}
        assert told <= {"content-type", "retry-after"}


def test_the_tapes_say_what_they_are() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {path.name for path in TAPES.values()}
    surfaces = {
        name: {"/openai/v1/" in one["request"]["uri"] for one in taped(TAPES[name]) if "/openai/" in
               one["request"]["uri"]}
        for name in SCENARIOS
    }  # fmt: skip
    assert surfaces == {name: {not name.endswith("-classic")} for name in SCENARIOS}
