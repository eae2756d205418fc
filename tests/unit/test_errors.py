from __future__ import annotations

import copy
import inspect
import pickle
import re
from decimal import Decimal

import pytest

from understudy import errors
from understudy.errors import (
    AuthError,
    BackendError,
    BudgetExceeded,
    ConfigError,
    DataError,
    InvalidData,
    NotFound,
    PluginLoadError,
    RateLimited,
    Unavailable,
    UnderstudyError,
)

TREE = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, UnderstudyError) and cls.__module__ == errors.__name__
]


def make(cls: type[UnderstudyError]) -> UnderstudyError:
    if cls is BudgetExceeded:
        money = {name: Decimal("1.5") for name in ("limit", "spent", "reserved", "asked")}
        return cls(budget="b", **money)
    if cls is DataError:
        return cls("bad", file="a.jsonl", line=3, field="messages.0")
    if cls is RateLimited:
        return cls("slow", retry_after=5.0, code="rate", status=429)
    if issubclass(cls, BackendError):
        return cls("words", code="c", status=500)
    return cls("words")


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("travel", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_every_error_survives_pickling(cls, travel):
    error = make(cls)
    again = travel(error)
    assert type(again) is cls
    assert (str(again), again.args) == (str(error), error.args)
    assert vars(again) == vars(error)


def test_the_tree_is_drawn_as_it_is():
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = [(0, "UnderstudyError")]
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([ │]*)[├└]── (\w+)", line)
        if not match:
            continue
        depth, name = len(match[1]), match[2]
        while len(above) > 1 and above[-1][0] >= depth:
            above.pop()
        drawn[name] = above[-1][1]
        above.append((depth, name))
    real = {
        cls.__name__: next(b.__name__ for b in cls.__mro__[1:] if b in TREE)
        for cls in TREE
        if cls is not UnderstudyError
    }
    assert drawn == real


def test_all_are_exported():
    assert {cls.__name__ for cls in TREE} == set(errors.__all__)


@pytest.mark.parametrize(
    ("cls", "stdlib"),
    [
        (ConfigError, ValueError),
        (DataError, ValueError),
        (InvalidData, ValueError),
        (PluginLoadError, ImportError),
        (AuthError, PermissionError),
        (NotFound, LookupError),
        (Unavailable, ConnectionError),
    ],
)
def test_errors_are_also_what_the_standard_library_would_raise(cls, stdlib):
    assert issubclass(cls, stdlib)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({}, "bad"),
        ({"file": "a.jsonl"}, "a.jsonl: bad"),
        ({"file": "a.jsonl", "line": 3}, "a.jsonl:3: bad"),
        ({"file": "a.jsonl", "line": 3, "field": "x.y"}, "a.jsonl:3 [x.y]: bad"),
        ({"field": "x.y"}, "[x.y]: bad"),
    ],
)
def test_bad_data_says_where(place, words):
    error = DataError("bad", **place)
    assert str(error) == words
    assert error.reason == "bad"


def test_a_budget_error_names_the_sums():
    error = BudgetExceeded(
        budget="team",
        limit=Decimal(20),
        spent=Decimal("12.5"),
        reserved=Decimal(4),
        asked=Decimal("3.75"),
    )
    assert "is $0.001:" in str(
        BudgetExceeded(
            budget="b",
            limit=Decimal("0.0010"),
            spent=Decimal(0),
            reserved=Decimal(0),
            asked=Decimal(1),
        )
    )
    for part in ("'team'", "$20.00", "$12.5000", "$4.0000", "$3.7500", "Nothing was sent"):
        assert part in str(error)
