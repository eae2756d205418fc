"""The sliding window of live completions."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import pytest

from understudy.errors import (
    AuthError,
    InvalidData,
    OutcomeUnknown,
    RateLimited,
    StaleRecord,
    Unavailable,
)
from understudy.infer import LiveAnswerer
from understudy.model import ChatReply, ChatRequest, Usage


def request(text: str) -> ChatRequest:
    return ChatRequest(model="m", messages=({"role": "user", "content": text},))


def reply(text: str) -> ChatReply:
    message = {"role": "assistant", "content": f"re: {text}"}
    usage = Usage(input=1, output=1)
    return ChatReply(message=message, finish_reason="stop", usage=usage, model="m")


class Book:
    """Remembers the order of everything."""

    def __init__(self, known: Mapping[str, ChatReply] | None = None) -> None:
        self.answers = dict(known or {})
        self.open: set[str] = set()
        self.most_open = 0
        self.log: list[str] = []

    def key(self, request: ChatRequest) -> str:
        return str(request.messages[0]["content"])

    def known(self, keys: Sequence[str]) -> Mapping[str, ChatReply]:
        return {key: self.answers[key] for key in keys if key in self.answers}

    def asking(self, requests: Mapping[str, ChatRequest]) -> None:
        self.open |= set(requests)
        self.most_open = max(self.most_open, len(self.open))
        self.log += [f"asking {key}" for key in requests]

    def answered(self, replies: Mapping[str, ChatReply], refused: Sequence[str]) -> None:
        self.answers |= replies
        self.open -= {*replies, *refused}


class Model:
    """Answers, or raises what ``trouble`` has for a question."""

    def __init__(self, book: Book, trouble: Mapping[str, Exception] | None = None) -> None:
        self.book, self.trouble = book, dict(trouble or {})
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def complete(self, request: ChatRequest, *, timeout: float) -> ChatReply:
        text = str(request.messages[0]["content"])
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.asked.append(text)
            assert text in self.book.open, "it was sent before it was entered"
        try:
            if text in self.trouble:
                raise self.trouble[text]
            return reply(text)
        finally:
            with self._lock:
                self.at_once -= 1


def ask(book: Book, model: Model, texts: Sequence[str], *, concurrency: int = 3) -> list[str]:
    answerer = LiveAnswerer(model, book, concurrency=concurrency)
    answers = answerer.answer([request(text) for text in texts])
    return [one.problem or (one.reply.text if one.reply else "nothing") for one in answers]


def test_answers_come_in_the_order_of_the_requests() -> None:
    book = Book()
    texts = [f"q{number}" for number in range(20)]
    assert ask(book, Model(book), texts) == [f"re: {text}" for text in texts]
    assert book.open == set()


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_never_more_are_out_than_allowed(concurrency: int) -> None:
    book = Book()
    model = Model(book)
    ask(book, model, [f"q{number}" for number in range(40)], concurrency=concurrency)
    assert 1 <= model.most_at_once <= concurrency
    assert book.most_open <= concurrency


def test_equal_requests_are_asked_once() -> None:
    book = Book()
    model = Model(book)
    assert ask(book, model, ["a", "b", "a", "a"]) == ["re: a", "re: b", "re: a", "re: a"]
    assert sorted(model.asked) == ["a", "b"]


def test_equal_requests_far_apart_are_asked_once() -> None:
    book = Book()
    model = Model(book)
    texts = ["same", *(f"q{number}" for number in range(300)), "same"]
    assert ask(book, model, texts)[-1] == "re: same"
    assert model.asked.count("same") == 1


def test_what_is_known_is_not_asked() -> None:
    book = Book({"a": reply("kept")})
    model = Model(book)
    assert ask(book, model, ["a", "b"]) == ["re: kept", "re: b"]
    assert model.asked == ["b"]


def test_a_refusal_is_a_problem_of_that_row_alone() -> None:
    book = Book()
    model = Model(book, {"b": InvalidData("not this one")})
    assert ask(book, model, ["a", "b", "c"]) == ["re: a", "not this one", "re: c"]
    assert book.open == set()


@pytest.mark.parametrize("error", [Unavailable("away"), AuthError("no"), RateLimited("slow")])
def test_trouble_ends_the_call_and_keeps_what_came_back(error: Exception) -> None:
    book = Book()
    model = Model(book, {"b": error})
    with pytest.raises(type(error)):
        ask(book, model, [*"abcdefgh"], concurrency=2)
    assert "a" in book.answers
    assert book.open == set()
    assert len(model.asked) < 8
    model.trouble.clear()
    before = len(model.asked)
    assert ask(book, model, [*"abcdefgh"]) == [f"re: {text}" for text in "abcdefgh"]
    assert not set(model.asked[before:]) & (set(model.asked[:before]) - {"b"})


def test_the_longest_pause_asked_for_counts() -> None:
    book = Book()
    out = threading.Barrier(3, timeout=10)

    class Together(Model):
        def complete(self, request: ChatRequest, *, timeout: float) -> ChatReply:
            out.wait()  # all three are out before the first comes back
            return super().complete(request, timeout=timeout)

    pauses = {"a": 5.0, "b": 60.0, "c": 7.0}
    trouble = {key: RateLimited("x", retry_after=value) for key, value in pauses.items()}
    with pytest.raises(RateLimited) as caught:
        ask(book, Together(book, trouble), ["a", "b", "c"], concurrency=3)
    assert caught.value.retry_after == 60.0


def test_an_answer_in_doubt_stays_entered() -> None:
    book = Book()
    model = Model(book, {"b": OutcomeUnknown("cut")})
    with pytest.raises(Unavailable, match="cut"):
        ask(book, model, ["a", "b"], concurrency=1)
    assert book.open == {"b"}


def test_a_lost_lease_stops_the_asking() -> None:
    class Lost(Book):
        def asking(self, requests: Mapping[str, ChatRequest]) -> None:
            raise StaleRecord("taken over")

    book = Lost()
    model = Model(book)
    with pytest.raises(StaleRecord):
        ask(book, model, ["a"])
    assert model.asked == []


def test_a_bug_in_the_backend_is_not_swallowed() -> None:
    book = Book()
    with pytest.raises(ZeroDivisionError):
        ask(book, Model(book, {"a": ZeroDivisionError()}), ["a"])


def test_nothing_asked_is_nothing_sent() -> None:
    book = Book()
    assert ask(book, Model(book), []) == []
    assert book.log == []
