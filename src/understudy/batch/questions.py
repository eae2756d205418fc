"""From a recipe's prompt to requests, keys and rows of a batch file; and the quick way there.

The slow way makes a ``ChatRequest`` of every row, hashes it with ``fingerprint`` and lets the
backend write its row. Requests of one recipe differ only in a few texts, so both the canonical
bytes and the provider's row are constant pieces around JSON strings. The quick way cuts those
pieces out once, around texts that stand in for the real ones, and only fills them. That both ways
give the same bytes is held by properties in ``tests/unit/batch/test_questions.py``.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from understudy.batch.prompts import Prompt
from understudy.batch.recipe import Ask
from understudy.data import request_tokens
from understudy.engine.batch_files import RowForm
from understudy.errors import DataError
from understudy.fingerprint import canonical
from understudy.model import ChatRequest, Json

__all__ = ["Questions", "WriteRow", "hasher", "row_form"]

WriteRow = Callable[[ChatRequest, str], Mapping[str, Json]]
"""``SupportsBatch.batch_row``: a request and its custom_id as a row of the provider's file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Questions:
    """All requests of one recipe to one pinned model; picklable.

    Args:
        ask: the recipe's section.
        model: what the provider calls the model.
        version: what keys are made with.
    """

    ask: Ask
    model: str
    version: str

    def prompts(self) -> list[Prompt]:
        """The compiled templates, one a message."""
        return [
            Prompt(one.content, where=f"[ask] message {number} ({one.role})")
            for number, one in enumerate(self.ask.templates, 1)
        ]

    def request(self, row: Mapping[str, Any]) -> ChatRequest:
        """The request of one row: what an application must send to find its answer.

        Raises:
            DataError: a field of the template is not in the row.
        """
        return self.of_contents([prompt.render(row) for prompt in self.prompts()])

    def of_contents(self, contents: Sequence[str]) -> ChatRequest:
        """The request whose messages hold these texts."""
        ask = self.ask
        return ChatRequest(
            model=self.model,
            messages=tuple(
                {"role": one.role, "content": content}
                for one, content in zip(ask.templates, contents, strict=True)
            ),
            tools=ask.tools,
            response_format=ask.response_format,
            sampling=ask.all_sampling,
            tenant=ask.tenant,
        )

    def of_texts(self, texts: Sequence[str]) -> ChatRequest:
        """The request whose varying messages hold ``texts``, the others what the recipe says."""
        varying = iter(texts)
        return self.of_contents(
            [prompt.render({}) if prompt.constant else next(varying) for prompt in self.prompts()]
        )

    def key_parts(self) -> tuple[bytes, ...]:
        """The canonical bytes around the varying texts, each a JSON string with its quotes."""
        marks = self._marks()
        data = canonical(self.of_texts(marks), model_version=self.version)
        pieces, order = _cut(data, [f'"{mark}"'.encode() for mark in marks])
        assert order == list(range(len(marks))), "messages stand in order in a canonical request"
        return pieces

    def base_tokens(self) -> int:
        """Prompt tokens of the request apart from its varying texts."""
        bare = self.of_texts(["" for _ in self._marks()])
        return request_tokens(bare.messages, bare.tools)

    def _marks(self) -> list[str]:
        varying = [prompt for prompt in self.prompts() if not prompt.constant]
        nonce = secrets.token_hex(16)
        return [f"understudy-{nonce}-{number}" for number in range(len(varying))]

    def row_form(self, write: WriteRow) -> RowForm | None:
        """The provider's row around key and texts; None where its rows are no such thing."""
        return row_form(self.of_texts, self._marks(), write)


def row_form(
    request_of: Callable[[Sequence[str]], ChatRequest], marks: Sequence[str], write: WriteRow
) -> RowForm | None:
    """The constant pieces of ``write``'s rows, found by texts that stand in for the real ones.

    None where key or texts are not in the row as they are, each once: then rows are kept whole.
    """
    key = secrets.token_hex(32)
    data = orjson.dumps(write(request_of(marks), key))
    try:
        pieces, order = _cut(data, [key.encode(), *(f'"{mark}"'.encode() for mark in marks)])
        return RowForm(
            pieces=tuple(piece.decode() for piece in pieces),
            fields=tuple(number - 1 for number in order),
        )
    except DataError:
        return None


def _cut(data: bytes, marks: Sequence[bytes]) -> tuple[tuple[bytes, ...], list[int]]:
    """The pieces between ``marks``, and which mark stands after which piece."""
    if any(data.count(mark) != 1 for mark in marks):
        raise DataError("a text does not stand in it once, as it is")
    order = sorted(range(len(marks)), key=lambda number: data.index(marks[number]))
    pieces: list[bytes] = []
    rest = data
    for number in order:
        before, _, rest = rest.partition(marks[number])
        pieces.append(before)
    return (*pieces, rest), order


def hasher(pieces: Sequence[bytes]) -> Callable[[Sequence[bytes]], str]:
    """Hex SHA-256 of the canonical bytes, given the escaped texts; see ``Questions.key_parts``."""
    start = hashlib.sha256(pieces[0])
    if len(pieces) == 1:
        whole = start.hexdigest()
        return lambda _texts: whole
    after = pieces[1:]

    def digest(texts: Sequence[bytes]) -> str:
        made = start.copy()
        for text, piece in zip(texts, after, strict=True):
            made.update(text + piece)
        return made.hexdigest()

    return digest
