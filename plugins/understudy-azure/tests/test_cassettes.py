"""Replay of traffic recorded from the sandbox, with sockets blocked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from azure_cassette_kit import FOLDER, SCENARIOS, backend_at
from azure_kit import TOKEN
from openai_cassette_kit import HOST, Still, recorder

TAPES = {name: FOLDER / f"sandbox-{name}.yaml" for name in SCENARIOS}
REPLAY_KEY = "azk-replay-not-a-key"
ROOT = "http://127.0.0.1:1"


def taped(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load(TAPES[name].read_text(encoding="utf-8"))["interactions"])


@pytest.mark.parametrize("name", SCENARIOS)
def test_replay(name: str, tmp_path: Path, socket_disabled: None) -> None:
    backend = backend_at(ROOT, REPLAY_KEY, name)
    with recorder("none", FOLDER).use_cassette(TAPES[name].name) as tape:
        assert len(tape) > 0
        SCENARIOS[name](backend, Still(), tmp_path)
        assert tape.all_played
        assert tape.play_count == len(tape)
    backend.close()


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_secret_and_no_host_on_the_tape(name: str) -> None:
    text = TAPES[name].read_text(encoding="utf-8")
    assert not re.search(r"(?i)\bsk-|bearer|authorization:|api-key|cookie|access_token|eyJ", text)
    assert TOKEN not in text
    assert "127.0.0.1" not in text
    assert not re.search(r"/(?:tmp|home|root|work)/", text)
    for one in taped(name):
        assert one["request"]["uri"].startswith((f"{HOST}/openai/", f"{HOST}/subscriptions/"))
        assert {field.lower() for field in one["request"]["headers"]} <= {"content-type"}
        told = {field.lower() for field in one["response"]["headers"]}
        assert told <= {"content-type", "retry-after"}


def test_the_tapes_say_what_they_are() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {path.name for path in TAPES.values()}
    surfaces = {
        name: {"/openai/v1/" in one["request"]["uri"] for one in taped(name) if "/openai/" in
               one["request"]["uri"]}
        for name in SCENARIOS
    }  # fmt: skip
    assert surfaces == {name: {not name.endswith("-classic")} for name in SCENARIOS}
