"""Secrets and row text never survive a provider's own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy_openai import redact

SECRET = "plain-key-without-a-known-form-42"
WORDS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("Incorrect API key provided: sk-abc***xyz.", "Incorrect API key provided: [redacted]"),
        ("Incorrect API key provided: hunter2hunter2", "Incorrect API key provided: [redacted]"),
        ("sent 'Authorization: Bearer abc.def'", "sent '...'"),
        ("header Bearer abc.def was refused", "header Bearer=[redacted] was refused"),
        ("see https://h/blob?sv=1&sig=AbC%3D now", "see https://h/blob now"),
        ("see https://me:pw@h/x", "see https://h/x"),
        ("sig=AbC and sk-proj-12345", "sig=[redacted] and [redacted]"),
    ],
)
def test_keys_and_signatures_are_removed(told: str, kept: str) -> None:
    assert redact(told) == kept


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ('Line 3 "buy me a horse" is bad', "Line 3 '...' is bad"),
        ("Line 3 'buy me a horse' is bad", "Line 3 '...' is bad"),
        ('row {"messages": [{"content": "a horse"}]} is bad', "row {...}"),
        ('row {"messages": [{"content": "a ho', "row {...}"),
        ('cut off "a horse, a hor', "cut off ..."),
        ("It doesn't fit, it can't", "It doesn't fit, it can't"),
        ("The model `gpt-4o-mini-2024-07-18` is off", "The model 'gpt-4o-mini-2024-07-18' is off"),
        ('already has status "succeeded".', "already has status 'succeeded'."),
        ("field 'n_epochs' of 'ftjob-abc'", "field 'n_epochs' of 'ftjob-abc'"),
    ],
)
def test_quoted_row_text_is_removed_and_names_stay(told: str, kept: str) -> None:
    assert redact(told) == kept


def test_the_result_is_short_and_one_line() -> None:
    assert len(redact("a b\n" * 500)) == 300
    assert "\n" not in redact("a\nb")


@pytest.mark.parametrize("other", [None, 5, {"message": "x"}, ["x"]])
def test_what_is_not_text_is_empty(other: object) -> None:
    assert redact(other) == ""


@given(before=WORDS, after=WORDS)
def test_the_configured_key_never_survives(before: str, after: str) -> None:
    assert SECRET not in redact(f"{before}{SECRET}{after}", [SECRET])


@given(before=WORDS, row=st.sampled_from(["horse riding lessons", "horse"]))
def test_a_quoted_row_never_survives(before: str, row: str) -> None:
    told = redact(f'{before.replace("horse", "")} {{"content": "{row}"}} "{row}" \'{row}\'')
    assert "horse" not in told
