"""What came back for one shard, held against what was sent: every row answered, kept apart or left.

Whatever the provider counts, a row is answered when its answer was read here. Rows of both files
come in any order; some may be missing, broken, sent twice or not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from understudy.batch.checks import Checker
from understudy.cache import pack_reply
from understudy.data import answer_text, count
from understudy.engine.batch_files import KEY, head, read_rows
from understudy.errors import DataError
from understudy.model import BatchReply, ChatReply, Json, Usage

__all__ = ["Account", "Apart", "Reader", "answer_lines", "read_references"]

Parse = Callable[[Json], BatchReply]
"""``SupportsBatch.batch_reply``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Apart:
    """Why a row's answer is not kept: ``kind`` is refused, invalid or failed."""

    kind: str
    message: str
    code: str | None = None


@dataclass(kw_only=True, slots=True)
class Account:
    """A shard's account. ``left`` maps the keys that have nothing yet to their prompt tokens.

    ``answers`` are lines of key and packed reply; ``trouble`` says of left rows why, where the
    provider said so. ``billed`` rows came with a reply, kept or not; the token sums are theirs.
    """

    left: dict[str, int]
    answers: list[bytes] = field(default_factory=list)
    apart: dict[str, Apart] = field(default_factory=dict)
    trouble: dict[str, Apart] = field(default_factory=dict)
    strays: int = 0
    billed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    counted_here: int = 0

    @property
    def usage(self) -> Usage:
        """All tokens that were read."""
        return Usage(input=self.input_tokens, output=self.output_tokens, cached=self.cached_tokens)

    def count(self, kind: str) -> int:
        """How many rows are kept apart as ``kind``."""
        return sum(one.kind == kind for one in self.apart.values())

    def give_up(self, reason: str) -> None:
        """Nothing that is left will be asked again: it has failed, with the provider's words."""
        for key in self.left:
            said = self.trouble.get(key)
            message = said.message if said else "it came back in no file"
            self.apart[key] = Apart(
                kind="failed", message=f"{message} ({reason})", code=said.code if said else None
            )
        self.left = {}


class Reader:
    """Reads the replies of one shard.

    Args:
        rows: the shard's file.
        check: what an answer must be.
        references: right answers by key, where known.
    """

    def __init__(self, rows: Path, check: Checker, references: Mapping[str, str]) -> None:
        self.account = Account(left=dict(map(head, read_rows(rows))))
        self._check, self._references = check, references

    def files(self, paths: Iterable[str], parse: Parse) -> Account:
        """Take in files of replies."""
        loads = orjson.loads
        for path in paths:
            with Path(path).open("rb") as file:
                for line in file:
                    if not line.strip():
                        continue
                    try:
                        reply = parse(loads(line))
                    except (ValueError, DataError):
                        # Cut or damaged: whatever it answered is asked again.
                        self.account.strays += 1
                        continue
                    self.take(reply)
        return self.account

    def take(self, reply: BatchReply) -> None:
        """Take in one reply."""
        account, key = self.account, reply.custom_id
        tokens = account.left.get(key)
        if tokens is None:
            account.strays += 1
            return
        answer = reply.reply
        if answer is not None:
            answer = self._counted(answer, tokens)
        if reply.outcome == "answered" and answer is not None:
            wrong = self._check(answer, self._references.get(key))
            if wrong is None:
                account.answers.append(key.encode() + pack_reply(answer))
            else:
                account.apart[key] = Apart(kind="invalid", message=wrong, code="check")
            del account.left[key]
            return
        said = reply.problem
        apart = Apart(
            kind=reply.outcome if reply.outcome in {"refused", "invalid"} else "failed",
            message=said.message if said else "the provider gives no reason",
            code=said.code if said else None,
        )
        if apart.kind == "failed":
            account.trouble[key] = apart
        else:
            account.apart[key] = apart
            del account.left[key]

    def _counted(self, answer: ChatReply, tokens: int) -> ChatReply:
        account = self.account
        if answer.usage_counted_here:
            usage = Usage(input=tokens, output=max(count(answer_text(answer.message)), 1))
            answer = ChatReply(
                message=answer.message,
                finish_reason=answer.finish_reason,
                usage=usage,
                model=answer.model,
                usage_counted_here=True,
            )
            account.counted_here += 1
        account.billed += 1
        usage = answer.usage
        account.input_tokens += usage.input
        account.cached_tokens += usage.cached
        account.output_tokens += usage.output
        return answer


def answer_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Key (hex) and packed reply of each line of an answers file, in the order of keys."""
    for line in read_rows(path):
        yield line[:KEY].decode(), line[KEY:]


def read_references(path: Path, first: str, last: str) -> dict[str, str]:
    """The references of keys from ``first`` to ``last``; the file is sorted by key."""
    found: dict[str, str] = {}
    if not path.exists():
        return found
    for line in read_rows(path):
        key = line[:KEY].decode()
        if key > last:
            break
        if key >= first:
            found[key] = orjson.loads(line[KEY:])
    return found
