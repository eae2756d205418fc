"""Answers to a checked batch: in bulk, chunk by chunk, written as they are made."""

from __future__ import annotations

import re
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from understudy_sandbox.batchresults import Results
from understudy_sandbox.batchrows import Asked, Settings
from understudy_sandbox.chat import Reply, answer_prompts, completion, said
from understudy_sandbox.errors import ApiError
from understudy_sandbox.learner.rows import Answer, Prompt

if TYPE_CHECKING:
    from understudy_sandbox.catalog import Resolved
    from understudy_sandbox.fits import Fits

_Row: TypeAlias = tuple[str, Asked, Prompt | None]
"""Its custom id, what it asks for, and its prompt where it is not refused."""
_Spoken: TypeAlias = tuple[bytes, bytes, int]
"""A message and a finish reason as they are written, and the output tokens."""
_CHUNK = 4096
_KEPT = 10_000
_NUMBERS = {"prompt_tokens": 7_000_000_001, "completion_tokens": 7_000_000_002}
_TOTAL = 7_000_000_003
_ORDER = (
    "request",
    "custom",
    "id",
    "reply",
    "message",
    "finish",
    "prompt_tokens",
    "completion_tokens",
    "total",
)
"""The places of a result line, in its order."""


class Answering:
    """Answers the requests of one model.

    Args:
        fits: where fitted models are.
        model: the model of all requests.
        created: Unix seconds that the answers show.
    """

    def __init__(self, fits: Fits, model: Resolved, created: int) -> None:
        self._fits, self._model = fits, model
        self._settings = Settings()
        self._form = _row_form(model.name, created)
        self._said: dict[tuple[Any, ...], _Spoken] = {}

    def file(self, source: Path, folder: Path, tokens: array[int]) -> Results:
        """Answer every request of a file, in its order.

        Args:
            source: the input file.
            folder: where the results are made.
            tokens: input tokens of each request.
        """
        inputs, outputs = array("I"), array("I")
        series = sha256(source.name.encode()).hexdigest()[:24]
        with (
            source.open("rb") as lines,
            tempfile.NamedTemporaryFile(dir=folder, delete=False) as good,
            tempfile.NamedTemporaryFile(dir=folder, delete=False) as bad,
        ):
            while rows := self._read(islice(lines, _CHUNK)):
                answers, made = self._answers(rows), []
                for number, (custom, asked, prompt) in enumerate(rows, len(inputs)):
                    name = f"{series}{number:08x}"
                    if prompt is None:
                        bad.write(refused_line(custom, name, asked.error))
                        inputs.append(0)
                        outputs.append(0)
                        continue
                    spoken = self._spoken(answers[prompt, asked.as_json], asked)
                    made.append(self._line(name.encode(), custom, tokens[number], spoken))
                    inputs.append(tokens[number])
                    outputs.append(spoken[2])
                good.write(b"".join(made))
        return Results.kept(Path(good.name), Path(bad.name), inputs, outputs, folder)

    def _read(self, lines: Iterator[bytes]) -> list[_Row]:
        rows: list[_Row] = []
        for line in lines:
            row = orjson.loads(line)
            rows.append((row["custom_id"], *self._settings.of(row["body"])))
        return rows

    def _answers(self, rows: Iterable[_Row]) -> dict[tuple[Prompt, bool], Answer]:
        # Equal questions are asked once.
        asked = list(dict.fromkeys((p, a.as_json) for _, a, p in rows if p is not None))
        answers = answer_prompts(self._fits, self._model, asked) if asked else []
        return dict(zip(asked, answers, strict=True))

    def _spoken(self, answer: Answer, asked: Asked) -> _Spoken:
        key = (answer, str(asked.stop), asked.limit)
        known = self._said.get(key)
        if known is None:
            reply = said(answer, stop=asked.stop, limit=asked.limit, inputs=0)
            known = orjson.dumps(reply.message), orjson.dumps(reply.finish), reply.outputs
            if len(self._said) >= _KEPT:
                self._said.clear()
            self._said[key] = known
        return known

    def _line(self, name: bytes, custom: str, inputs: int, spoken: _Spoken) -> bytes:
        message, finish, outputs = spoken
        return self._form % (
            name,
            orjson.dumps(custom),
            name,
            name[3:],
            message,
            finish,
            inputs,
            outputs,
            inputs + outputs,
        )


def _row_form(model: str, created: int) -> bytes:
    """A result line as a format with the places of ``_ORDER``, made from the real objects."""
    reply = Reply(content="", calls=(), finish="@finish@", inputs=0, outputs=0)
    body = completion("chatcmpl-@reply@", created, model, reply)
    body["choices"][0]["message"] = "@message@"
    body["usage"] = {**reply.usage, **_NUMBERS, "total_tokens": _TOTAL}
    row = result("@custom@", "@request@", "@id@", status=200, body=body)
    text = orjson.dumps(row).replace(b"%", b"%%")
    numbers = {str(v): k for k, v in _NUMBERS.items()} | {str(_TOTAL): "total"}
    quoted = "|".join(f'"@{name}@"' for name in ("custom", "message", "finish"))
    inner = "|".join(f"@{name}@" for name in ("request", "reply", "id"))
    places = re.compile(f"{quoted}|{inner}|{'|'.join(numbers)}".encode())
    order: list[str] = []

    def place(match: re.Match[bytes]) -> bytes:
        found = match.group().decode()
        order.append(numbers.get(found) or found.strip('"@'))
        return b"%d" if found in numbers else b"%b"

    form = places.sub(place, text) + b"\n"
    assert tuple(order) == _ORDER
    return form


def result(
    custom: str, request: str, name: str, *, status: int, body: Mapping[str, Any]
) -> dict[str, Any]:
    """A row of an output or error file."""
    return {
        "id": f"batch_req_{request}",
        "custom_id": custom,
        "response": {"status_code": status, "request_id": name, "body": body},
        "error": None,
    }


def refused_line(custom: str, name: str, error: ApiError | None) -> bytes:
    """The row of a request that was refused."""
    assert error is not None
    return orjson.dumps(result(custom, name, name, status=error.status, body=error.body)) + b"\n"
