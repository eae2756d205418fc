"""A server that is busy, broken, old, elsewhere or not ours: what is tried, and what is told."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson
import pytest

from langfuse_kit import Waits, asked, root, seed, settings, source
from understudy.clock import SystemClock
from understudy.errors import (
    AuthError,
    InvalidData,
    NotEligible,
    NotFound,
    RateLimited,
    Unavailable,
)
from understudy_langfuse.connection import Connection

LIST = "langfuse.observations.list"


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def of(sandbox, environment, finish, waits):
    def make(**options: Any) -> Any:
        return finish(source(sandbox, waits=waits, environments=[environment], **options))

    return make


@pytest.fixture
def calls(sandbox, environment, first):
    seed(sandbox, range(first, first + 30), **{"langfuse.environment": environment})
    return {f"q{number}" for number in range(first, first + 30)}


def taken(made: Any) -> list[str]:
    return [text for page in made.pages(None) for text in asked(page.records)]


def test_a_busy_server_is_waited_for_as_it_asks(sandbox, of, calls, waits):
    sandbox.faults({"on": LIST, "do": "error", "status": 429, "retry_after": 7, "times": 2})
    assert set(taken(of())) == calls
    assert waits.seconds == [7, 7]


def test_one_that_asks_for_long_is_come_back_to(sandbox, of, calls, waits):
    sandbox.faults({"on": LIST, "do": "error", "status": 429, "retry_after": 600})
    with pytest.raises(RateLimited, match="Ask again later; what was taken is kept") as caught:
        taken(of())
    assert caught.value.retry_after == 600
    assert waits.seconds == []


def test_busy_scores_are_waited_for_too(sandbox, of, calls, waits):
    sandbox.faults({"on": "langfuse.scores.list", "do": "error", "status": 429, "retry_after": 3})
    assert set(taken(of())) == calls
    assert waits.seconds == [3]


@pytest.mark.parametrize("do", ["drop", "truncate", "garbled_body"])
def test_a_reply_that_breaks_off_is_asked_for_again(sandbox, of, calls, waits, do):
    sandbox.faults({"on": LIST, "do": do, "after": 1, "times": 2})
    said = taken(of(page_size=10))
    assert (set(said), len(said)) == (calls, len(calls))
    assert len(waits.seconds) == 2


def test_a_page_that_the_server_cannot_manage_is_asked_for_in_smaller_ones(
    sandbox, of, calls, waits
):
    sandbox.faults({"on": LIST, "do": "error", "status": 504, "times": 2})
    made = of(page_size=40, settings_of={"attempts": 2})
    assert [len(page.records) for page in made.pages(None)] == [10, 10, 10]
    assert len(waits.seconds) == 1


def test_a_broken_server_is_given_up_in_words(sandbox, of, calls):
    sandbox.faults({"on": LIST, "do": "error", "status": 500, "times": None})
    with pytest.raises(Unavailable, match=r"failed to give v2 list of observations \(HTTP 500\)"):
        taken(of(settings_of={"attempts": 2}))


def test_a_cursor_that_is_forgotten_begins_the_window_again(sandbox, of, calls, landing):
    sandbox.faults({"on": LIST, "do": "error", "status": 500, "after": 1, "times": None})
    with pytest.raises(Unavailable):
        landing.pull(of(page_size=10, settings_of={"attempts": 1}))
    assert len(landing.calls()) == 10
    sandbox.faults({"on": LIST, "do": "error", "status": 400, "message": "cursor: unknown"})
    landing.pull(of(page_size=10))
    assert {call["messages"][0]["content"] for call in landing.calls()} == calls
    assert len(landing.calls()) == len(calls)


def test_a_condition_that_means_nothing_is_told_with_the_servers_words(of):
    where = [{"type": "string", "column": "colour", "operator": "=", "value": "red"}]
    with pytest.raises(InvalidData, match="there is no column 'colour'"):
        taken(of(where=where))


def test_a_wrong_key_is_told_with_what_to_check(sandbox, of):
    secret = "sk-lf-not-this-one"
    with pytest.raises(AuthError, match="check LANGFUSE_PUBLIC_KEY") as caught:
        taken(of(settings_of={"secret_key": secret}))
    assert secret not in str(caught.value)


def test_keys_that_may_not_are_told_apart(sandbox, of):
    sandbox.faults({"on": LIST, "do": "error", "status": 403, "message": "no access"})
    with pytest.raises(NotEligible, match="no access"):
        taken(of())


def test_a_server_that_echoes_the_keys_does_not_get_them_into_the_message(sandbox, of):
    made = of(settings_of={"secret_key": "sk-lf-echoed-secret"})
    sandbox.faults({"on": LIST, "do": "echo_key"})
    with pytest.raises(AuthError) as caught:
        taken(made)
    assert "sk-lf-echoed-secret" not in str(caught.value)
    sandbox.faults(
        {"on": LIST, "do": "error", "status": 500, "message": f"key {sandbox.api_key} broke it"}
    )
    with pytest.raises(Unavailable, match=r"key \[redacted\] broke it"):
        taken(of(settings_of={"attempts": 1}, page_size=1))
    assert sandbox.api_key not in repr(settings(sandbox))


def test_an_old_server_is_told_by_its_version(sandbox, of):
    sandbox.faults({"on": "*", "do": "langfuse_old_server", "times": None})
    with pytest.raises(NotFound, match=r"is version 3\.38\.0, which has no v2 list") as caught:
        taken(of())
    assert "Upgrade the server to version 4" in str(caught.value)


def test_an_address_that_is_no_langfuse_is_told(sandbox, of):
    made = of(settings_of={"base_url": f"{root(sandbox)}/v1"})
    with pytest.raises(NotFound, match="has no v2 list of observations"):
        taken(made)


def test_an_address_where_nobody_listens_is_told(of):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        made = of(settings_of={"base_url": address, "attempts": 2}, page_size=1)
        with pytest.raises(Unavailable, match="Check base_url and the network"):
            taken(made)


def test_a_host_that_does_not_exist_is_not_waited_for(sandbox, waits, monkeypatch):
    def nobody(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    made = settings(sandbox, base_url="http://langfuse.invalid")
    connection = Connection(made, SystemClock(), waits)
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(NotFound, match=r"there is no host http://langfuse\.invalid"):
        connection.get("its health", "health", {})
    connection.close()
    assert waits.seconds == []


def test_one_odd_row_does_not_end_the_pull(sandbox, of, calls, monkeypatch):
    """Rows that the SDK would refuse the whole page for are read, or told."""
    made = of(page_size=1000)
    connection = made._connection
    plain = connection.get

    def odd(what: str, path: str, query: Any, **more: Any) -> Any:
        reply = plain(what, path, query, **more)
        if path == "v2/observations":
            reply["data"][0] |= {"level": "NEW", "usageDetails": {"input": 3, "details": None}}
            reply["data"][1] = {"startTime": "?"}
        return reply

    monkeypatch.setattr(connection, "get", odd)
    (page,) = made.pages(None)
    assert len(page.records) == len(calls)
    assert page.records[0].value["response"]["usage"] == {"input": 3}
    assert (page.records[1].place, page.records[1].problem) == ("id", "has no id")


def test_a_list_in_an_unknown_form_is_told(sandbox, of, monkeypatch):
    made = of()
    monkeypatch.setattr(made._connection, "get", lambda *_, **__: {"items": []})
    with pytest.raises(InvalidData, match="in a form that this plugin does not know"):
        taken(made)


@pytest.fixture
def canned():
    """A server that answers every request with the bytes it is given, by path."""

    class Handler(BaseHTTPRequestHandler):
        replies: ClassVar[dict[str, bytes]] = {}

        def do_GET(self) -> None:
            body = self.replies[urlsplit(self.path).path]
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Handler.replies
        server.shutdown()
        thread.join()


def test_half_a_character_does_not_end_the_pull(canned, of):
    """As a server in JavaScript writes a text that was cut within a character."""
    url, replies = canned
    row = (
        rb'{"id": "o", "traceId": "t", "startTime": "2026-01-01T00:00:00Z", "type": "GENERATION", '
        rb'"input": "[{\"role\": \"user\", \"content\": \"cut \\ud83d\"}]", '
        rb'"output": "a \ud83d", "metadata": {"n": "\udc00"}}'
    )
    replies["/api/public/v2/observations"] = rb'{"data": [' + row + rb'], "meta": {}}'
    replies["/api/public/v3/scores"] = b'{"data": [], "meta": {}}'
    ((found,),) = (page.records for page in of(settings_of={"base_url": url}).pages(None))
    assert found.value["messages"] == [{"role": "user", "content": "cut ?"}]
    assert found.value["response"]["message"]["content"] == "a ?"
    assert orjson.dumps(found.value)
