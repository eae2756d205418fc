"""Exports as JSONL."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import orjson

from understudy.cache.base import KEY_BYTES, Row
from understudy.cache.transfer_format import FORMAT, damaged
from understudy.data.lines import read_lines
from understudy.errors import DataError
from understudy.model import Json

__all__ = ["read_jsonl", "write_jsonl"]


def write_jsonl(path: Path, head: Mapping[str, Json], rows: Iterable[Row]) -> int:
    """Write rows behind ``head``; how many."""
    written = 0
    with path.open("wb", buffering=1 << 20) as file:
        file.write(orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE))
        for key, value in rows:
            file.write(b'{"key":"%b",%b}\n' % (key.hex().encode(), _field(value)))
            written += 1
    return written


def _field(value: bytes) -> bytes:
    try:
        if orjson.dumps(orjson.loads(value)) == value:
            return b'"value":%b' % value
    except orjson.JSONDecodeError:
        pass
    return b'"base64":"%b"' % base64.b64encode(value)


def read_jsonl(path: Path) -> tuple[Mapping[str, Json], Iterator[Row]]:
    """The head and the rows. Raises ``DataError`` with the line that is damaged."""
    lines = read_lines(path)
    first = next(lines, None)
    head = _line(path, first.number, first.data) if first else {}
    if head.get("understudy_cache") != FORMAT:
        raise DataError(
            'this is no export of a cache: its first line is not {"understudy_cache":1,...}; '
            "write one with `understudy cache export`",
            file=path,
            line=1,
        )

    def rows() -> Iterator[Row]:
        for line in lines:
            if line.too_big:
                raise damaged(path, line.number, None, f"has {line.size:,} bytes")
            if line.data:
                yield _row(path, line.number, _line(path, line.number, line.data))

    return head, rows()


def _line(path: Path, number: int, data: bytes) -> Mapping[str, Json]:
    try:
        held = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise damaged(path, number, None, f"is no JSON ({error})") from None
    if not isinstance(held, dict):
        raise damaged(path, number, None, "is no JSON object")
    return held


def _row(path: Path, number: int, held: Mapping[str, Json]) -> Row:
    try:
        key = bytes.fromhex(held["key"])
    except (KeyError, TypeError, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise damaged(path, number, "key", f"is not {KEY_BYTES * 2} hex digits")
    if "value" in held:
        return key, orjson.dumps(held["value"])
    try:
        return key, base64.b64decode(held["base64"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise damaged(path, number, "value", "is missing, or base64 is no Base64") from None
