from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from understudy.cli.app import run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "half.json").write_text("[{")
    (tmp_path / "wrong.json").write_text(json.dumps([{"zap": 1}]))
    (tmp_path / "object.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--clock", "garbage"], "'garbage' is no time; write it like 2028-01-01T00:00:00Z"),
        (["--clock-speed", "-3"], "'--clock-speed'"),
        (["--train-seconds", "-1"], "'--train-seconds'"),
        (["--port", "99999"], "'--port'"),
        (["--data", "file/x"], "--data file/x: there is a file in the way"),
        (["--faults", "none.json"], "--faults none.json cannot be read as JSON"),
        (["--faults", "half.json"], "--faults half.json cannot be read as JSON"),
        (["--faults", "wrong.json"], "wrong.json is no list of rules: 0.do Field required; 0.zap"),
        (["--faults", "object.json"], "object.json is no list of rules"),
        (["--shutdown", "gpt-4o"], "give MODEL=DAYS"),
        (["--shutdown", "nomodel=3"], "no such base model for a shutdown date: nomodel; known: "),
        (["--learner", "nope"], "no learner is named 'nope'; known: default"),
        (["--api-key", ""], "--api-key is empty"),
        (["--azure-account", "west"], "--azure-account 'west=': give NAME=REGION"),
        (["--tls-cert", "none.pem"], "--tls-cert none.pem and its key cannot be used"),
        (["--azure-quota", "0"], "'--azure-quota'"),
        (["--host", "192.0.2.1", "--api-key", "sk-own"], "cannot listen on 192.0.2.1, port 0: "),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_wrong_option_is_put_into_words(capsys, options, words):
    assert run(["serve", "sandbox", "--data", "state", *options]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


@pytest.mark.usefixtures("folder")
def test_a_port_that_is_taken_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "sandbox", "--data", "state", "--port", str(port)]) == 2
    err = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use; choose" in err
