"""Answers that are none: cut off, declined, or a program's error message."""

from __future__ import annotations

import re

import orjson
from pydantic import Field

from understudy.backend import Params
from understudy.data.filters.texts import text_of
from understudy.model import Conversation, Drop

__all__ = ["Failed", "Refusal", "Truncated"]

_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "content_filter"})
_ENDS = re.compile(
    r"[.!?\u2026\u3002\uff01\uff1f\u0964\u061f][\"'\u201d\u2019\u00bb)\]*_`]*(?:\s|$)"
)
_LIST = re.compile(r"\s*(?:[-*•#>|]|\d+[.)]\s)")
_LINK = re.compile(r"(?:\S+@\S+|https?://\S+|\S+/\S+)$")


class Truncated:
    """The answer was cut off.

    By the logged finish reason; in JSON that never closes, or an open code fence; and, in prose
    of at least ``least_words`` words that uses full stops, in a last line that stops in the
    middle of a sentence. Lists, headings, links and short last lines such as a name are let be.
    """

    class Options(Params):
        finish_reason: bool = True
        json_answers: bool = True
        sentences: bool = True
        least_words: int = Field(default=12, ge=1)

    def __init__(self, *, options: Options) -> None:
        self._options = options

    def check(self, row: Conversation) -> Drop | None:
        options = self._options
        if options.finish_reason and row.finish_reason in _CUT:
            return Drop(message=f"it ended by {row.finish_reason}", place="response.finish_reason")
        answer = row.answer
        if answer.get("tool_calls"):
            return None
        text = text_of(answer).strip()
        if options.json_answers and (text[:1] in {"{", "["} or text.count("```") % 2):
            return _cut_code(text)
        if options.sentences and self._cut_sentence(text):
            return Drop(message="it stops in the middle of a sentence", place="answer")
        return None

    def _cut_sentence(self, text: str) -> bool:
        last = text[-1:]
        if not (last.isalnum() or last in {",", ";", "-", "–", "(", "&", "/"}):  # noqa: RUF001
            return False
        line = text.rpartition("\n")[2]
        if len(line.split(maxsplit=5)) < 5 or _LIST.match(line) or _LINK.search(line):
            return False
        return len(text.split()) >= self._options.least_words and bool(_ENDS.search(text))


def _cut_code(text: str) -> Drop | None:
    if text.count("```") % 2:
        return Drop(message="a code block is not closed", place="answer")
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        if _unclosed(text):
            return Drop(message="its JSON is not closed", place="answer")
    return None


def _unclosed(text: str) -> bool:
    depth = 0
    quoted = False
    skip = False
    for letter in text:
        if skip:
            skip = False
        elif quoted:
            skip = letter == "\\"
            quoted = letter != '"'
        elif letter == '"':
            quoted = True
        else:
            depth += (letter in "{[") - (letter in "}]")
    return quoted or depth > 0


_CANNOT = r"(?:can't|can[ ]?not|(?:am|are)[ ](?:not[ ]able|unable)|won't|will[ ]not|must[ ]decline)"
_HELP = (
    r"(?:help|assist|comply|fulfil?l?|provide|answer|support|generate|continue|discuss|do[ ]that|"
    r"engage|share)"
)
_DECLINES = re.compile(
    rf"""^\W*(?:
      (?:(?:i'?m|i[ ]am|we'?re|we[ ]are)[ ](?:very[ ]|so[ ]|really[ ])?)?(?:sorry|afraid)
        \W{{1,3}}(?:but[ ]|that[ ])?(?:i|we)[ ]{_CANNOT}
    | (?:i|we)[ ]{_CANNOT}[ ](?:to[ ])?{_HELP}
    | as[ ]an?[ ](?:ai|artificial|large|language)\b[^.]{{0,60}}?\b(?:{_CANNOT}|don't)
    | (?:es[ ]tut[ ]mir[ ]leid|lo[ ]siento|je[ ]suis[ ]d\u00e9sol\u00e9e?|desculpe|mi[ ]dispiace)
        \W{{1,3}}(?:aber[ ]|pero[ ]|mais[ ]|mas[ ]|ma[ ])?
        (?:ich[ ]kann|no[ ]puedo|je[ ]ne[ ]peux|n\u00e3o[ ]posso|non[ ]posso)
    )""",
    re.IGNORECASE | re.VERBOSE,
)


class Refusal:
    """The answer declines: it begins as refusals do. ``patterns`` are further regular expressions.

    An apology that goes on to help ("I'm sorry to hear that ...") is none.
    """

    class Options(Params):
        patterns: tuple[str, ...] = ()

    def __init__(self, *, options: Options) -> None:
        self._more = [re.compile(pattern, re.IGNORECASE) for pattern in options.patterns]

    def check(self, row: Conversation) -> Drop | None:
        answer = row.answer
        if answer.get("tool_calls"):
            return None
        text = text_of(answer).replace("\u2019", "'")
        if _DECLINES.match(text[:400]) or any(more.search(text) for more in self._more):
            return Drop(message="the model declined", place="answer")
        return None


_BROKEN = re.compile(
    r"""^\W*(?:
      (?:http\ )?(?:error\ )?(?:4\d\d|5\d\d)\b[\s:-]{1,3}(?:bad|internal|too|service|gateway|not\ found|unauthorized|forbidden|request)
      | internal\ server\ error | service\ unavailable | bad\ gateway | gateway\ time-?out
      | traceback\ \(most\ recent\ call\ last\)
      | (?:an\ |unknown\ |unexpected\ )*error\ (?:has\ )?occur+ed\b
      | (?:upstream|request|connection|read)\ time(?:d\ |-)?out\b
      | rate\ limit\ (?:exceeded|reached)
      | exception\ in\ thread | \w+(?:error|exception):\s
      | <!doctype\ html | <html
    )""",  # noqa: E501
    re.IGNORECASE | re.VERBOSE,
)


class Failed:
    """The answer is the error message of a program: a status line, a stack trace, an error page.

    Also a JSON object whose only content is an ``error``.
    """

    class Options(Params):
        patterns: tuple[str, ...] = ()

    def __init__(self, *, options: Options) -> None:
        self._more = [re.compile(pattern, re.IGNORECASE) for pattern in options.patterns]

    def check(self, row: Conversation) -> Drop | None:
        text = text_of(row.answer)
        if _BROKEN.match(text[:400]) or any(more.search(text) for more in self._more):
            return Drop(message="it is an error message", place="answer")
        if text.lstrip()[:1] == "{" and '"error"' in text[:200]:
            try:
                found = orjson.loads(text)
            except orjson.JSONDecodeError:
                return None
            if isinstance(found, dict) and found.get("error") and len(found) <= 2:
                return Drop(message="it is an error object", place="answer")
        return None
