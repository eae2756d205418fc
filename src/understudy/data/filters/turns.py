"""Conversations as a whole: missing turns, length, and traffic that no user caused."""

from __future__ import annotations

import re

from pydantic import Field

from understudy.backend import Params
from understudy.data.filters.texts import text_of, texts
from understudy.data.tokens import count, example_tokens
from understudy.model import Conversation, Drop

__all__ = ["IncompleteTurns", "Length", "TestTraffic"]

_SAYS = re.compile(r"\w")


class IncompleteTurns:
    """A turn is missing or says nothing.

    More than ``most_in_a_row`` messages of one side follow each other, no user speaks at all, or
    a user's or the assistant's message has no letter and no digit in it.
    """

    class Options(Params):
        most_in_a_row: int = Field(default=1, ge=1)

    def __init__(self, *, options: Options) -> None:
        self._most = options.most_in_a_row

    def check(self, row: Conversation) -> Drop | None:
        run, before, users = 0, "", 0
        for index, message in enumerate(row.messages):
            role = message["role"]
            run = run + 1 if role == before else 1
            before = role
            if role == "user":
                users += 1
                if run > self._most:
                    return Drop(message="the assistant's turn is missing", place=_at(index))
            elif role != "assistant":
                continue
            elif run > self._most:
                return Drop(message="the user's turn is missing", place=_at(index))
            if not message.get("tool_calls") and not _SAYS.search(text_of(message)):
                return Drop(message="it says nothing", place=_at(index))
        return None if users else Drop(message="no user speaks in it", place="messages")


def _at(index: int) -> str:
    return f"messages.{index}"


class Length:
    """Too long or too short. Tokens are o200k_base; words are what blanks part."""

    class Options(Params):
        least_tokens: int | None = Field(default=None, ge=1)
        most_tokens: int | None = Field(default=None, ge=1)
        least_answer_tokens: int | None = Field(default=None, ge=1)
        most_answer_tokens: int | None = Field(default=None, ge=1)
        least_words: int | None = Field(default=None, ge=1)
        most_words: int | None = Field(default=None, ge=1)
        least_messages: int | None = Field(default=None, ge=1)
        most_messages: int | None = Field(default=None, ge=1)

    def __init__(self, *, options: Options) -> None:
        self._options = options

    def check(self, row: Conversation) -> Drop | None:
        options = self._options
        found = _outside(
            len(row.messages), options.least_messages, options.most_messages, "messages"
        )
        if not found and (options.least_words or options.most_words):
            words = sum(len(text_of(message).split()) for message in row.messages)
            found = _outside(words, options.least_words, options.most_words, "words")
        if not found and (options.least_tokens or options.most_tokens):
            tokens = example_tokens(row.messages, row.tools)
            found = _outside(tokens, options.least_tokens, options.most_tokens, "tokens")
        if not found and (options.least_answer_tokens or options.most_answer_tokens):
            tokens = sum(count(text) for text in texts(row.answer))
            found = _outside(
                tokens,
                options.least_answer_tokens,
                options.most_answer_tokens,
                "tokens in the answer",
            )
        return found


def _outside(number: int, least: int | None, most: int | None, what: str) -> Drop | None:
    if least is not None and number < least:
        return Drop(message=f"{number} {what}, at least {least} are asked for", reason="too_short")
    if most is not None and number > most:
        return Drop(message=f"{number} {what}, at most {most} are asked for", reason="too_long")
    return None


_TRIES = re.compile(
    r"""^\W*(?:
      (?:this\ is\ (?:just\ )?(?:a|an)\ )?(?:automated\ )?(?:smoke\ |load\ |integration\ |health[\ -]?)?(?:test|check|ping)
        (?:ing|s)?(?:\ (?:message|request|call|prompt|please\ ignore|\d+))*(?:[\W_]+(?:ignore|please\ ignore).*)?
      | (?:foo|bar|baz|asdf\w*|qwer\w*|xyz+|aaa+|lorem\ ipsum.*|hello\ world)(?:\W+(?:foo|bar|baz|asdf\w*|qwer\w*))*
    )\W*$""",  # noqa: E501
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


class TestTraffic:
    """Calls that no user made.

    By metadata (``metadata`` names fields and the values that mean a test), by what the first
    user message says as a whole ("test", "ping", "asdf", "lorem ipsum ..."), and by ``patterns``,
    regular expressions over the users' messages.
    """

    __test__ = False  # pytest takes the name for a test's

    class Options(Params):
        metadata: dict[str, tuple[str, ...]] = Field(
            default={
                "environment": ("test", "testing", "ci", "staging", "dev", "development", "load"),
                "env": ("test", "testing", "ci", "staging", "dev", "development", "load"),
                "test": ("true", "True", "1", "yes"),
                "synthetic": ("true", "True", "1", "yes"),
            }
        )
        texts: bool = True
        patterns: tuple[str, ...] = ()

    def __init__(self, *, options: Options) -> None:
        self._options = options
        self._more = [re.compile(pattern, re.IGNORECASE) for pattern in options.patterns]

    def check(self, row: Conversation) -> Drop | None:
        for name, values in self._options.metadata.items():
            if str(row.metadata.get(name, "")) in values:
                return Drop(message="its metadata says so", place=f"metadata.{name}")
        said = [text_of(message) for message in row.messages if message["role"] == "user"]
        if self._options.texts and said and len(said[0]) < 2000 and _TRIES.match(said[0]):
            return Drop(message="the user only tried whether it works", place="messages")
        if any(more.search(text) for more in self._more for text in said):
            return Drop(message="a pattern of the recipe says so", place="messages")
        return None
