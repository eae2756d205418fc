"""Scorers: their rules one by one, and that none raises or leaves [0, 1] on any text."""

import json
import math
import sys
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import ConfigError, DataError, PluginError, PluginLoadError
from understudy.evaluate import BUILTIN, load_scorer, resolve, score_rows
from understudy.evaluate.scorers import exact, json_exact, json_f1, normalised
from understudy.hookspecs import ScorerSpec

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
ANYTHING = st.text(max_size=30) | JSON.map(json.dumps)


@pytest.mark.parametrize("spec", BUILTIN, ids=lambda spec: spec.name)
@given(answer=ANYTHING, reference=ANYTHING)
def test_every_builtin_stays_in_range_on_any_text(spec, answer, reference):
    assert 0.0 <= load_scorer(spec)(answer, reference) <= 1.0


@pytest.mark.parametrize("spec", BUILTIN, ids=lambda spec: spec.name)
@given(text=ANYTHING)
def test_every_builtin_gives_full_marks_to_the_reference_itself(spec, text):
    assert resolve(spec.name)(text, text) == 1.0


@given(value=JSON, other=JSON)
def test_json_scores_are_symmetric_between_json_values(value, other):
    a, b = json.dumps(value), json.dumps(other)
    assert json_f1(a, b) == json_f1(b, a)
    assert json_exact(a, b) == json_exact(b, a)
    assert json_exact(a, b) <= json_f1(a, b)


@given(value=JSON)
def test_key_order_and_spaces_do_not_count(value):
    def turned(item):
        if isinstance(item, dict):
            return {key: turned(item[key]) for key in reversed(item)}
        return [turned(part) for part in item] if isinstance(item, list) else item

    a, b = json.dumps(value), json.dumps(turned(value), indent=2)
    assert json_exact(a, b) == json_f1(a, b) == 1.0


@given(st.lists(SCALARS, max_size=6), st.randoms())
def test_a_list_of_plain_values_is_a_bag_for_f1(values, random):
    mixed = random.sample(values, len(values))
    assert json_f1(json.dumps({"a": mixed}), json.dumps({"a": values})) == 1.0


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3}', 0.5),
        ('{"a": 1}', '{"a": 1, "b": 2}', 2 / 3),
        ('{"a": {"b": 1, "c": 2}}', '{"a": {"b": 1}}', 2 / 3),
        ('{"a": 1.0}', '{"a": 1}', 1),
        ('{"a": true}', '{"a": 1}', 0),
        ('{"a": "1"}', '{"a": 1}', 0),
        ('{"a": null}', "{}", 0),
        ('{"a": []}', '{"a": []}', 1),
        ('{"a": []}', '{"a": {}}', 0),
        ('["x", "x"]', '["x"]', 2 / 3),
        ('["x", "y"]', '["y", "z"]', 0.5),
        # Fields of two objects in a list never mix.
        ('[{"x": 1, "y": 4}, {"x": 3, "y": 2}]', '[{"x": 1, "y": 2}, {"x": 3, "y": 4}]', 0.5),
        ('{"a": "1.b"}', '{"a": {"1": "b"}}', 0),
        ('{"a.b": 1}', '{"a": {"b": 1}}', 0),
        ("not json", '{"a": 1}', 0),
        ('```json\n{"a": 1}\n```', '{"a": 1}', 0),
        ('{"a": 1,}', '{"a": 1}', 0),
        ("", "{}", 0),
        ('{"a": NaN}', '{"a": NaN}', 1),  # the reference is not JSON: texts are compared
        ('{"a": NaN}', '{"a": 1}', 0),
        ("plain words", "plain words", 1),
        ('{"a": 1}', "plain words", 0),
    ],
)
def test_json_f1_by_hand(answer, reference, score):
    assert json_f1(answer, reference) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("[1, 2]", "[2, 1]", 0),
        ("[1, 2]", "[1.0, 2]", 1),
        ("[1, true]", "[1, 1]", 0),
        ('{"a": [1, {"b": []}]}', '{"a": [1, {"b": []}]}', 1),
        ('{"a": 1', '{"a": 1}', 0),
    ],
)
def test_json_exact_by_hand(answer, reference, score):
    assert json_exact(answer, reference) == score


@pytest.mark.parametrize("deep", ["[" * 100_000 + "]" * 100_000, "9" * 5000])
def test_hostile_json_scores_and_does_not_raise(deep):
    assert json_f1(deep, '{"a": 1}') == 0
    assert json_exact(deep, deep) == 1


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("  Straße \n", "STRASSE"),
        ("ﬁne", "fine"),
        ("\uff28ello\uff01", "hello"),
        ('"Yes."', "yes"),
        ("(book   flight)", "Book flight"),
        ("«Oui»…", "oui"),
        ("¿Qué?", "qué"),
        ("cafe\u0301", "café"),
    ],
)
def test_normalised_overlooks_form(answer, reference):
    assert normalised(answer, reference) == 1
    assert exact(answer, reference) == 0


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("-5", "5"),
        (".5", "5"),
        ("5%", "5"),
        ("$5", "5"),
        ("?", "!"),
        ("C++", "C"),
        ("a b", "ab"),
        ("café", "cafe"),
        ("", "x"),
    ],
)
def test_normalised_keeps_what_carries_meaning(answer, reference):
    assert normalised(answer, reference) == 0


def test_exact_minds_everything_but_outer_whitespace():
    assert exact(" a\n", "a") == 1
    assert exact("A", "a") == 0


@pytest.fixture
def plugin(monkeypatch):
    def make(function) -> ScorerSpec:
        module = ModuleType("scorer_under_test")
        module.score = function
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return ScorerSpec(name="mine", target="scorer_under_test:score", help="")

    return make


@pytest.mark.parametrize("result", [0, 1, True, 0.25])
def test_a_plugins_scorer_is_found_by_name(plugin, result):
    spec = plugin(lambda answer, reference: result)
    score = resolve("mine", (*BUILTIN, spec))("a", "b")
    assert (type(score), score) == (float, float(result))


@pytest.mark.parametrize("result", [math.nan, math.inf, -0.1, 1.0001, None, "1", 10**400])
def test_a_result_that_is_no_score_is_refused_by_name(plugin, result):
    with pytest.raises(PluginError, match="'mine' gave"):
        load_scorer(plugin(lambda answer, reference: result))("a", "b")


def test_a_scorer_that_breaks_is_named_and_no_row_text_gets_out(plugin):
    def broken(answer, reference):
        raise KeyError(answer)

    with pytest.raises(
        PluginError, match=r"'mine' broke with KeyError in broken, line \d+"
    ) as caught:
        load_scorer(plugin(broken))("planted-row-text", "b")
    assert "planted-row-text" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("no_such_module_anywhere:score", "No module named"),
        ("json:no_such_name", "no attribute"),
        ("json", "cannot be loaded"),
        ("json:__name__", "is str, not a function"),
    ],
)
def test_a_target_that_cannot_be_loaded_is_named(target, says):
    with pytest.raises(PluginLoadError, match=f"'mine'.*{says}"):
        load_scorer(ScorerSpec(name="mine", target=target, help=""))


def test_an_unknown_scorer_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'json_f1'"):
        resolve("json-f1")


def test_rows_without_an_answer_score_zero():
    assert score_rows(exact, ["a", None, "c"], ["a", "b", "x"]) == [1.0, 0.0, 0.0]
    with pytest.raises(DataError, match="2 answers were given for 1 references"):
        score_rows(exact, ["a", "b"], ["a"])
