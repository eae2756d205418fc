"""The account of a shard, whatever the provider sends back."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.batch.checks import make_checker
from understudy.batch.recipe import Check
from understudy.batch.replies import Reader
from understudy.cache import unpack
from understudy.errors import ConfigError, DataError
from understudy.evaluate.scorers import exact
from understudy.model import BatchReply, ChatReply, RemoteProblem, Usage

KEYS = [f"{number:064x}" for number in range(12)]


def rows_file(folder: Path) -> Path:
    path = folder / "s.rows"
    path.write_bytes(b"".join(b'%b%08x"t"\n' % (key.encode(), 7) for key in KEYS))
    return path


def parse(row: Any) -> BatchReply:
    if "key" not in row:
        raise DataError("names no request")
    kind = row["kind"]
    said = ChatReply(
        message={"role": "assistant", "content": row.get("text", "yes")},
        finish_reason=row.get("reason", "stop"),
        usage=Usage(input=5, output=2) if row.get("usage", True) else Usage(input=0, output=0),
        model="m",
        usage_counted_here=not row.get("usage", True),
    )
    answered = kind == "answered"
    problem = None if answered else RemoteProblem(message=f"it was {kind}", code=kind)
    return BatchReply(
        custom_id=row["key"], outcome=kind, reply=said if answered else None, problem=problem
    )


def read(folder: Path, lines: list[bytes], check: Check | None = None, **references: str) -> Reader:
    (folder / "out.jsonl").write_bytes(b"\n".join(lines))
    check = check or Check()
    checker = make_checker(check, exact if check.scorer else None)
    made = Reader(rows_file(folder), checker, references)
    made.files([str(folder / "out.jsonl")], parse)
    return made


def line(key: str, kind: str = "answered", **more: Any) -> bytes:
    return orjson.dumps({"key": key, "kind": kind, **more})


_KINDS = st.sampled_from(["answered", "retry", "refused", "invalid"])
_LINES = st.lists(
    st.one_of(
        st.builds(line, st.sampled_from([*KEYS, "stranger"]), _KINDS),
        st.sampled_from([b"", b"{broken", b"[1]", b'{"no": "key"}']),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(_LINES)
def test_every_row_sent_is_in_exactly_one_place(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    account = read(tmp_path_factory.mktemp("r"), lines).account
    answered = [one[:64].decode() for one in account.answers]
    assert sorted([*answered, *account.apart, *account.left]) == KEYS
    assert set(account.trouble) <= set(KEYS)
    count = sum(bool(one.strip()) for one in lines)
    told = [one for one in lines if b"retry" in one and b"stranger" not in one]
    assert account.strays <= count
    assert count - account.strays - len(told) <= len(answered) + len(account.apart)


def test_order_and_repeats_change_nothing(tmp_path: Path) -> None:
    lines = [line(key) for key in KEYS]
    shuffled = [*lines, *lines[:3]]
    random.Random(1).shuffle(shuffled)
    account = read(tmp_path, shuffled).account
    assert (len(account.answers), account.strays, account.left) == (12, 3, {})
    assert account.usage == Usage(input=60, output=24)


def test_an_answer_with_no_usage_is_counted_from_its_row(tmp_path: Path) -> None:
    account = read(tmp_path, [line(KEYS[0], usage=False, text="one two")]).account
    assert (account.counted_here, account.usage) == (1, Usage(input=7, output=2))
    held = unpack(account.answers[0][64:])
    assert isinstance(held, ChatReply)
    assert held.usage_counted_here


def test_giving_up_keeps_the_providers_words(tmp_path: Path) -> None:
    account = read(tmp_path, [line(KEYS[0], "retry")]).account
    account.give_up("asked 3 times")
    assert account.left == {}
    assert account.count("failed") == 12
    assert account.apart[KEYS[0]].message == "it was retry (asked 3 times)"
    assert account.apart[KEYS[1]].message == "it came back in no file (asked 3 times)"


@pytest.mark.parametrize(
    ("check", "reply", "said"),
    [
        (Check(), {"reason": "length"}, "cut at max_output_tokens"),
        (Check(allow_cut=True), {"reason": "length"}, None),
        (Check(json_schema={"type": "object"}), {"text": "{}"}, None),
        (Check(json_schema={"type": "object"}), {"text": "no"}, "not JSON"),
        (Check(json_schema={"type": "object"}), {"text": "[1]"}, "does not fit the JSON schema"),
        (Check(scorer="exact"), {"text": "no"}, "scores 0 against its reference"),
        (Check(scorer="exact"), {"text": "right"}, None),
    ],
)
def test_checks(tmp_path: Path, check: Check, reply: dict[str, Any], said: str | None) -> None:
    account = read(tmp_path, [line(KEYS[0], **reply)], check, **{KEYS[0]: "right"}).account
    assert len(account.answers) == (said is None)
    if said is not None:
        assert said in account.apart[KEYS[0]].message
        assert account.apart[KEYS[0]].kind == "invalid"
    # It was answered, so it was paid.
    assert account.usage.output == 2


def test_an_unfit_answer_is_not_quoted(tmp_path: Path) -> None:
    check = Check(json_schema={"type": "object", "properties": {"a": {"type": "integer"}}})
    account = read(tmp_path, [line(KEYS[0], text='{"a": "secret words"}')], check).account
    assert "secret" not in account.apart[KEYS[0]].message
    assert "properties/a/type" in account.apart[KEYS[0]].message


def test_what_is_no_schema_is_an_error_of_the_recipe() -> None:
    with pytest.raises(ConfigError, match="no JSON schema"):
        make_checker(Check(json_schema={"type": 5}), None)
