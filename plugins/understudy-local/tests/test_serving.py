"""Local models answer: one server a model for everybody, found, shared, replaced, ended."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from export_kit import bundled, no_servers_left
from local_kit import make_backend, until
from understudy.errors import AuthError, InvalidData, NotEligible, NotFound, Unavailable
from understudy.model import ChatReply, ChatRequest
from understudy_local import processes
from understudy_local.artifacts import Home, read_json
from understudy_local.serving import client, pool
from understudy_local.serving.models import Served

pytestmark = pytest.mark.timeout(120)
STUDENT = "smollm2-135m"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A home; its servers are ended."""
    pytest.importorskip("xllamacpp", reason="needs understudy-local[gguf]")
    with no_servers_left(tmp_path):
        yield tmp_path


def ask(model: str = STUDENT, *, words: str = "Say hi", most: int = 4) -> ChatRequest:
    message = {"role": "user", "content": words}
    return ChatRequest(
        model=model, messages=(message,), sampling={"temperature": 0, "max_tokens": most}
    )


def answered(home: Path, request: ChatRequest | None = None, **more: Any) -> ChatReply:
    return make_backend(home, **more).complete(request or ask(), timeout=60)


def servers(home: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in home.glob("servers/*/server.json")]


def test_a_student_answers_and_says_what_it_used(place: Path) -> None:
    reply = answered(place)
    assert reply.message["role"] == "assistant"
    assert reply.text
    assert (reply.usage.output, reply.finish_reason, reply.model) == (4, "length", STUDENT)
    assert reply.usage.input > 10


def test_all_share_one_server(place: Path) -> None:
    answered(place)
    (first,) = servers(place)
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(answered(place).text)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (still,) = servers(place)
    assert still["pid"] == first["pid"]
    assert len(said) == 6
    assert len(set(said)) == 1


def test_two_that_ask_at_once_start_one_server(place: Path) -> None:
    backend = make_backend(place)
    served = bundled()
    found: list[pool.Address] = []

    def look() -> None:
        found.append(pool.address(Home(place), served, backend.settings, timeout=60))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.process.pid for one in found}) == 1
    assert len(servers(place)) == 1


def test_a_killed_server_is_replaced(place: Path) -> None:
    answered(place)
    (told,) = servers(place)
    first = processes.parse(told)
    assert first is not None
    processes.signal_group(first, signal.SIGKILL)
    until(lambda: not processes.is_alive(first))
    assert answered(place).text
    (second,) = servers(place)
    assert second["pid"] != told["pid"]


def test_a_server_ends_when_nobody_asks(place: Path) -> None:
    answered(place, idle_seconds=0.2)
    (told,) = servers(place)
    process = processes.parse(told)
    until(lambda: not processes.is_alive(process), seconds=30)
    assert servers(place) == []


def busy(address: pool.Address) -> bool:
    request = urllib.request.Request(
        f"{address.url}/metrics", headers={"Authorization": f"Bearer {address.key}"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return b"requests_processing 1" in reply.read()


def test_a_server_that_is_ended_in_the_middle_of_an_answer_is_gone(place: Path) -> None:
    backend = make_backend(place)
    address = pool.address(Home(place), bundled(), backend.settings, timeout=60)
    told: list[Exception] = []

    def asks() -> None:
        with pytest.raises(Unavailable) as caught:
            client.ask(address, ask(words="Count to a thousand.", most=1900), timeout=60)
        told.append(caught.value)

    thread = threading.Thread(target=asks)
    thread.start()
    until(lambda: busy(address), seconds=30)
    pool.end(Home(place), bundled())
    until(lambda: not processes.is_alive(address.process), seconds=30)
    thread.join(30)
    assert len(told) == 1


def test_its_key_is_for_this_user_and_is_wanted(place: Path) -> None:
    answered(place)
    (told,) = place.glob("servers/*/server.json")
    assert told.stat().st_mode & 0o077 == 0
    address = pool.address(Home(place), bundled(), make_backend(place).settings, timeout=10)
    assert address.key not in repr(address)
    wrong = pool.Address(url=address.url, key="wrong", process=address.process)
    with pytest.raises(AuthError):
        client.ask(wrong, ask(), timeout=10)


def test_a_request_that_is_too_long_says_what_to_raise(place: Path) -> None:
    with pytest.raises(InvalidData, match="raise context_tokens") as caught:
        answered(place, ask(words="hi " * 2000), context_tokens=256)
    assert caught.value.status == 400


def test_a_request_that_the_server_refuses_is_refused(place: Path) -> None:
    request = ChatRequest(model=STUDENT, messages=({"role": 7},))
    with pytest.raises(InvalidData):
        answered(place, request)


def test_a_damaged_file_says_so(place: Path) -> None:
    path = place / "damaged.gguf"
    path.write_bytes(b"GGUF" + bytes(range(256)) * 20)
    with pytest.raises(InvalidData, match="cannot be served"):
        answered(place, ask(str(path)))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("ft:smollm2-135m:job-9:q4_k_m", "it was not exported"),
        ("ft:smollm2-135m:job-9", "q4_k_m, say"),
        ("qwen3-0.6b", "compare_base = false"),
        ("no such thing", "is no student"),
    ],
)
def test_a_model_without_a_file_says_what_to_do(tmp_path: Path, model: str, words: str) -> None:
    with pytest.raises(NotFound, match=words):
        answered(tmp_path, ask(model))


def test_without_llama_cpp_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_missing", lambda: True)
    with pytest.raises(NotEligible, match="pip install"):
        answered(tmp_path)


def test_loading_that_takes_too_long_is_asked_again_later(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="is loading still"):
        make_backend(place).complete(ask(), timeout=0.0)
    # The one that was started goes on, and answers whoever asks later.
    assert answered(place).text
    assert len(servers(place)) == 1


def test_a_changed_file_is_another_server(place: Path) -> None:
    path = place / "one.gguf"
    os.link(bundled().path, path) if _same_disk(place) else shutil.copy(bundled().path, path)
    first = Served(name="one", path=path).id
    path.unlink()
    shutil.copy(bundled().path, path)
    assert Served(name="one", path=path).id != first


def _same_disk(place: Path) -> bool:
    return bundled().path.stat().st_dev == place.stat().st_dev


# -- understudy serve local ---------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The command in a process of its own, with a key; what it said."""
    pytest.importorskip("xllamacpp", reason="needs understudy-local[gguf]")
    env = {
        **os.environ,
        "UNDERSTUDY_LOCAL_SERVE_KEY": "sk-mine",
        "UNDERSTUDY_LOCAL_HOME": str(tmp_path),
    }
    line = [sys.executable, "-m", "understudy.cli", "serve", "local", STUDENT]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    ) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def _post(url: str, key: str) -> tuple[int, dict[str, Any]]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
    body = {"model": STUDENT, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", f"{place.path}/chat/completions", json.dumps(body), headers)
    reply = connection.getresponse()
    told = reply.status, json.loads(reply.read())
    connection.close()
    return told


def test_serve_local_speaks_the_openai_wire_to_those_with_its_key(command: dict[str, Any]) -> None:
    assert command["url"].startswith("http://127.0.0.1:")
    status, body = _post(command["url"], "sk-mine")
    assert status == 200
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert _post(command["url"], "sk-other")[0] == 401


def test_the_openai_client_drives_it(command: dict[str, Any]) -> None:
    from openai import OpenAI

    with OpenAI(base_url=command["url"], api_key="sk-mine") as openai:
        pieces = openai.chat.completions.create(
            model=STUDENT,
            messages=[{"role": "user", "content": "Count to three."}],
            max_tokens=5,
            stream=True,
        )
        said = [piece.choices[0].delta.content or "" for piece in pieces if piece.choices]
    assert "".join(said)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org"])
def test_off_loopback_it_wants_a_key(host: str) -> None:
    env = {k: v for k, v in os.environ.items() if k != "UNDERSTUDY_LOCAL_SERVE_KEY"}
    done = subprocess.run(
        [sys.executable, "-m", "understudy.cli", "serve", "local", STUDENT, "--host", host],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    assert done.returncode == 2
    assert "UNDERSTUDY_LOCAL_SERVE_KEY" in done.stderr


def test_a_server_that_was_told_of_but_is_gone_is_started_anew(place: Path) -> None:
    answered(place)
    (path,) = place.glob("servers/*/server.json")
    told = read_json(path)
    assert told is not None
    process = processes.parse(told)
    assert process is not None
    processes.signal_group(process, signal.SIGKILL)
    until(lambda: not processes.is_alive(process))
    # Its pid was given to another process meanwhile: the time of its start tells.
    path.write_text(json.dumps({**told, "pid": os.getpid()}))
    assert answered(place).text


def test_nothing_listens_where_it_was_told_to(place: Path) -> None:
    me = processes.identify()
    assert me is not None
    nobody = pool.Address(url="http://127.0.0.1:9", key="k", process=me)
    with pytest.raises((ConnectionRefusedError, urllib.error.URLError)):
        client.ask(nobody, ask(), timeout=5)
