from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from understudy.errors import ConfigError
from understudy.recipe import Split, load_recipe

LEAST = """
name = "triage"
[source]
path = "calls.jsonl"
[train]
backend = "openai"
base_model = "small"
[budget]
limit_usd = 5
"""


def load(tmp_path, text):
    file = tmp_path / "recipe.toml"
    file.write_text(text, encoding="utf-8")
    return load_recipe(file)


def test_the_least_recipe(tmp_path):
    recipe = load(tmp_path, LEAST)
    assert recipe.source.path == tmp_path / "calls.jsonl"
    assert recipe.source.kind == "calls"
    assert recipe.budget.limit_usd == Decimal(5)
    assert recipe.budget_name == "triage"
    assert recipe.alias is None
    assert recipe.evaluation.sampling == {"temperature": 0}


def test_a_shared_budget(tmp_path):
    assert load(tmp_path, LEAST + 'name = "team"').budget_name == "team"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[train]", "[trian]", r"\[trian\] is not a known name: did you mean 'train'"),
        ("base_model", "basemodel", r"\[train.basemodel\].*did you mean 'base_model'"),
        ('"triage"', '"Triage 1"', r"\[name\] String should match pattern"),
        ('"triage"', '"triage@2"', r"\[name\]"),
        ("= 5", "= 0", r"\[budget.limit_usd\].*greater than 0"),
        ("= 5", '= "x"', r"\[budget.limit_usd\].*decimal"),
        ("[budget]", "[split]\ntrain = 0.9\n[budget]", "train .* is 1.1, it must be 1"),
        (
            "[budget]",
            "[split]\ntrain = 0.9\ntest = 0\n[budget]",
            r"\[split\] test is 0, but a",
        ),
        ('"small"', '""', r"\[train.base_model\].*at least 1"),
        ("[train]", '[cleaning]\ndrop = ["bad"]\n[train]', r"\[cleaning.drop.0\].*'truncated'"),
        ('path = "calls.jsonl"', 'kind = "chat"', r"\[source.path\] Field required"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, words):
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, LEAST.replace(old, new))


def test_an_absolute_source_stays(tmp_path):
    text = LEAST.replace("calls.jsonl", str(tmp_path / "other" / "calls.jsonl"))
    assert load(tmp_path, text).source.path == tmp_path / "other" / "calls.jsonl"


@settings(deadline=None)
@given(st.integers(1, 99), st.integers(0, 98))
def test_shares_must_sum_to_one(train, validation):
    test = 100 - train - validation
    shares = {"train": train / 100, "validation": validation / 100, "test": test / 100}
    if test >= 0:
        assert Split(**shares).train == train / 100
    else:
        with pytest.raises(ValidationError):
            Split(**shares)


@settings(deadline=None)
@given(st.floats(0.01, 0.5), st.floats(0.01, 0.2), st.floats(0.01, 0.2))
def test_shares_that_do_not_sum_are_refused(train, validation, test):
    with pytest.raises(ValidationError, match="it must be 1"):
        Split(train=train, validation=validation, test=test)
