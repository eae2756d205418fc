"""Replay of traffic recorded from the sandbox, with sockets blocked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pytest_socket import SocketBlockedError

from openai_cassette_kit import (
    FOLDER,
    HOST,
    SCENARIOS,
    backend_at,
    recorder,
    replayed,
    taped,
)

TAPES = {name: FOLDER / f"sandbox-{name}.yaml" for name in SCENARIOS}
REPLAY_KEY = "sk-replay-not-a-key"
URL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize("name", SCENARIOS)
def test_replay(name: str, tmp_path: Path, socket_disabled: None) -> None:
    backend = backend_at(URL, REPLAY_KEY)
    replayed(TAPES[name], SCENARIOS[name], backend, tmp_path)


def test_a_request_that_is_not_on_the_tape_is_refused(
    tmp_path: Path, socket_disabled: None
) -> None:
    backend = backend_at(URL, REPLAY_KEY)
    with (
        recorder("none").use_cassette(TAPES["lifecycle"].name),
        pytest.raises(Exception, match=r"(?i)cassette|no connection|connection broke") as caught,
    ):
        backend.lifecycle("gpt-4.1-2025-04-14")
    assert not isinstance(caught.value, SocketBlockedError)
    backend.close()


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_secret_and_no_host_on_the_tape(name: str) -> None:
    text = TAPES[name].read_text(encoding="utf-8")
    assert not re.search(r"(?i)sk-|bearer|authorization|api-key|cookie|organization:", text)
    assert "127.0.0.1" not in text
    assert not re.search(r"/(?:tmp|home|root|work)/", text)
    for one in taped(TAPES[name]):
        assert one["request"]["uri"].startswith(f"{HOST}/v1/")
        assert set(one["request"]["headers"]) <= {"content-type"}
        assert set(one["response"]["headers"]) <= {"content-type", "retry-after"}


def test_the_tapes_say_what_they_are() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {path.name for path in TAPES.values()}
    owners = [one["response"]["body"]["string"] for one in taped(TAPES["lifecycle"])]
    assert "understudy-sandbox" in owners[0]


def test_row_text_stands_only_in_uploads() -> None:
    for name in SCENARIOS:
        for one in taped(TAPES[name]):
            if not one["request"]["uri"].endswith(("/files", "/content", "/chat/completions")):
                assert "order " not in str(one)
