from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from understudy.batch.prompts import Prompt
from understudy.errors import ConfigError, DataError

_NAMES = st.sampled_from(["q", "city", "n", "range", "loop", "true_name"])
_TEXTS = st.text(st.characters(exclude_characters="{}%#", exclude_categories=["Cs"]), max_size=12)
_VALUES = st.none() | st.text(max_size=12) | st.integers() | st.floats() | st.booleans()
_ROWS = st.dictionaries(_NAMES, _VALUES | st.lists(st.integers(), max_size=2), max_size=5)


def by_jinja(template: str, row: dict[str, Any]) -> str | None:
    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    try:
        given_ = {name: value for name, value in row.items() if value is not None}
        return environment.from_string(template).render(given_)
    except Exception:  # noqa: BLE001 - whatever Jinja says, the row cannot be asked
        return None


def by_prompt(prompt: Prompt, row: dict[str, Any]) -> str | None:
    try:
        return prompt.render(row)
    except DataError:
        return None


@settings(deadline=None)
@given(st.lists(st.tuples(_TEXTS, _NAMES), min_size=1, max_size=4), _TEXTS, _ROWS)
def test_plain_templates_are_what_jinja_makes_of_them(
    parts: list[tuple[str, str]], end: str, row: dict[str, Any]
) -> None:
    template = "".join(f"{text}{{{{ {name} }}}}" for text, name in parts) + end
    prompt = Prompt(template, where="[ask]")
    assert prompt.plain
    assert by_prompt(prompt, row) == by_jinja(template, row)


@settings(deadline=None)
@given(_ROWS)
@pytest.mark.parametrize(
    "template",
    ["{% if q is defined %}{{ q }}{% else %}none{% endif %}", "{{ q | upper }}", "{{ q }}{# x #}"],
)
def test_other_templates_are_jinjas(template: str, row: dict[str, Any]) -> None:
    assert by_prompt(Prompt(template, where="[ask]"), row) == by_jinja(template, row)


def test_a_constant_template_knows_it_is_one() -> None:
    assert Prompt("You are brief.\n", where="[ask]").constant
    assert Prompt("You are brief.\n", where="[ask]").render({}) == "You are brief.\n"
    assert not Prompt("{{ q }}", where="[ask]").constant


def test_a_missing_field_names_itself() -> None:
    with pytest.raises(DataError, match="'q' is undefined"):
        Prompt("{{ q }}", where="[ask]").render({"p": 1})


def test_what_is_no_template_says_where() -> None:
    with pytest.raises(ConfigError, match=r"\[ask\] message 1: line 2"):
        Prompt("a\n{{ q", where="[ask] message 1")


@pytest.mark.parametrize(
    "template", ["{{ q.__class__.__mro__ }}", "{{ ''.__class__ }}", "{{ q / 0 }}"]
)
def test_a_template_cannot_reach_out_nor_break_the_run(template: str) -> None:
    with pytest.raises(DataError):
        Prompt(template, where="[ask]").render({"q": 1})


def test_words_of_a_broken_row_are_not_told() -> None:
    secret = string.ascii_letters
    with pytest.raises(DataError) as caught:
        Prompt("{{ q + 1 }}", where="[ask]").render({"q": secret})
    assert secret not in str(caught.value)
