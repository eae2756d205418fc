"""First pass: rows become lines of key, tokens and texts, sorted into buckets by their key.

A renderer is made once in each process; ``block`` is all that a pool's worker does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from understudy.batch.inputs import Block
from understudy.batch.prompts import Prompt
from understudy.batch.questions import Questions, hasher
from understudy.data import Reason, count
from understudy.engine.batch_files import KEY, TEXT
from understudy.errors import DataError

__all__ = ["BUCKETS", "REFERENCE", "Rendered", "Renderer", "WriteLine"]

BUCKETS = 256
"""By the first byte of the key."""
REFERENCE = b"\x1f"
"""Stands before the reference in a spilled line; JSON strings never hold it."""

_RAW = 2000

WriteLine = Callable[[Mapping[str, Any]], bytes]
"""A row as the line of a shard's file."""


@dataclass(kw_only=True, slots=True)
class Rendered:
    """What became of a block."""

    rows: int = 0
    buckets: dict[int, bytes] = field(default_factory=dict)
    """The lines of each bucket, each with its newline."""
    rejected: list[bytes] = field(default_factory=list)


class Renderer:
    """Turns input rows into spilled lines.

    Args:
        questions: the requests.
        file: name of the input, for reasons of rejection.
        reference: field with the right answer, if any.
        max_tokens: prompt tokens that one request may have.
        max_bytes: bytes that one line may have.
        whole: writes the line where rows have no common form (see ``RowForm.whole``).
    """

    def __init__(
        self,
        questions: Questions,
        *,
        file: str,
        max_tokens: int,
        max_bytes: int,
        reference: str | None = None,
        whole: WriteLine | None = None,
    ) -> None:
        self._file, self._reference = file, reference
        self._max_bytes = max_bytes
        self._line = _bounded(whole, max_tokens) if whole else _filled(questions, max_tokens)

    def block(self, block: Block) -> Rendered:
        """Render all rows of a block; those that cannot be are rejected with their reason."""
        out = Rendered()
        line, most, reference = self._line, self._max_bytes, self._reference
        # By the key's first two hex digits: looking them up costs less than reading them.
        buckets: dict[bytes, list[bytes]] = {b"%02x" % n: [] for n in range(BUCKETS)}
        for number, row in self._rows(block, out):
            try:
                made = line(row)
                if len(made) > most:
                    raise DataError(f"the request has {len(made):,} bytes; one may have {most:,}")  # noqa: TRY301
                if reference is not None:
                    made += _reference(row, reference)
            except DataError as error:
                out.rejected.append(self._reject(number, error, orjson.dumps(row, default=str)))
            else:
                buckets[made[:2]].append(made)
        out.buckets = {
            int(name, 16): b"\n".join(lines) + b"\n" for name, lines in buckets.items() if lines
        }
        return out

    def _rows(self, block: Block, out: Rendered) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for number in block.too_long:
            out.rows += 1
            error = DataError("the line is longer than 8 MiB", field=Reason.LINE_TOO_BIG)
            out.rejected.append(self._reject(number, error, b""))
        if block.rows:
            out.rows += len(block.rows)
            yield from block.rows
            return
        loads = orjson.loads
        for number, data in enumerate(block.lines.split(b"\n"), block.first):
            if not data or data.isspace():
                continue
            out.rows += 1
            try:
                row = loads(data)
            except ValueError as error:
                broken = DataError(f"is not JSON ({error})")
                out.rejected.append(self._reject(number, broken, data))
                continue
            if type(row) is dict:
                yield number, row
            else:
                wrong = DataError(f"is {type(row).__name__}, not an object of fields")
                out.rejected.append(self._reject(number, wrong, data))

    def _reject(self, number: int, error: DataError, raw: bytes) -> bytes:
        return orjson.dumps(
            {
                "file": self._file,
                "line": number,
                "field": error.field,
                "reason": error.reason,
                "row": raw[:_RAW].decode("utf-8", "replace"),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )


def _too_many(tokens: int, most: int) -> DataError:
    return DataError(f"the request has {tokens:,} tokens; one may have {most:,}")


def _reference(row: Mapping[str, Any], name: str) -> bytes:
    value = row.get(name)
    if value is None:
        return b""
    if not isinstance(value, str):
        value = orjson.dumps(value).decode()
    return REFERENCE + orjson.dumps(value)


def _bounded(whole: WriteLine, most: int) -> WriteLine:
    def line(row: Mapping[str, Any]) -> bytes:
        made = whole(row)
        if (tokens := int(made[KEY:TEXT], 16)) > most:
            raise _too_many(tokens, most)
        return made

    return line


def _filled(questions: Questions, most: int) -> WriteLine:
    """The quick way: only the varying texts are rendered, escaped, hashed and counted."""
    prompts = [prompt for prompt in questions.prompts() if not prompt.constant]
    digest = hasher(questions.key_parts())
    base = questions.base_tokens()
    if len(prompts) == 1:
        return _filled_once(prompts[0], digest, base, most)

    def line(row: Mapping[str, Any]) -> bytes:
        texts = [prompt.render(row) for prompt in prompts]
        escaped = [_escaped(text) for text in texts]
        tokens = base + sum(map(count, texts))
        if tokens > most:
            raise _too_many(tokens, most)
        return b"%b%08x%b" % (digest(escaped).encode(), tokens, b"\t".join(escaped))

    return line


def _filled_once(
    prompt: Prompt, digest: Callable[[Sequence[bytes]], str], base: int, most: int
) -> WriteLine:
    render = prompt.render

    def line(row: Mapping[str, Any]) -> bytes:
        text = render(row)
        escaped = _escaped(text)
        tokens = base + count(text)
        if tokens > most:
            raise _too_many(tokens, most)
        return b"%b%08x%b" % (digest((escaped,)).encode(), tokens, escaped)

    return line


def _escaped(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except TypeError:
        raise DataError("a text holds a lone surrogate, which is no Unicode; mend it") from None
