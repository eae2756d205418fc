"""A recipe's way: the core collects from the project, and makes a dataset of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langfuse_kit import seed, source
from understudy.data import prepare
from understudy.data.sources.collect import collect as collect_from
from understudy.errors import Unavailable
from understudy.plugins import PluginHost
from understudy.recipe import Cleaning, Source, Split

BROKEN = {"on": "langfuse.observations.list", "do": "error", "status": 500, "times": None}


@pytest.fixture
def collect(sandbox, environment, finish, tmp_path):
    def into(path: Path = tmp_path / "collected" / "calls.jsonl", **options: Any) -> Any:
        given = {"environments": [environment], "page_size": 10, "late": 10**9, **options}
        return collect_from(finish(source(sandbox, **given)), path)

    return into


def test_calls_are_collected_once_and_become_a_dataset(
    sandbox, environment, first, collect, tmp_path
) -> None:
    here = {"langfuse.environment": environment}
    seed(sandbox, range(first, first + 40), **here)
    done = collect()
    assert (done.new, done.known, done.total) == (40, 0, 40)
    odd = {"langfuse.observation.input": json.dumps({"question": "?"})}
    seed(sandbox, [first + 40], **here, **odd)
    again = collect()
    assert (again.new, again.total) == (1, 41)
    made = prepare(
        source=Source(
            kind="langfuse", service="langfuse", path=tmp_path / "collected" / "calls.jsonl"
        ),
        cleaning=Cleaning(),
        split=Split(),
        method="supervised",
        root=tmp_path / "datasets",
        sources=PluginHost().trace_sources(),
    )
    assert made.kept == 40
    (rejected,) = (made.path / "rejected.jsonl").read_text().splitlines()
    assert "log the messages" in rejected


def test_what_was_taken_before_trouble_is_kept(sandbox, environment, first, collect) -> None:
    seed(sandbox, range(first, first + 30), **{"langfuse.environment": environment})
    sandbox.faults({**BROKEN, "after": 2})
    with pytest.raises(Unavailable):
        collect(settings_of={"attempts": 1})
    sandbox.faults()
    done = collect()
    assert (done.new, done.total) == (10, 30)
