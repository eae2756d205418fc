"""Secrets and row text are planted everywhere and then looked for everywhere else."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fault_kit import Bench, Provider, write_calls

from understudy.engine import commands
from understudy.errors import ConfigError
from understudy.store.schema import metadata

KEY = "sk-planted-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
SAS = "https://store.test/rows.jsonl?sv=2025-01-01&sig=plantedSignature%2Babc123def456"
SIGNATURE = "plantedSignature"
ROW = "zebrafish-marker-in-a-row"
META = "sk-planted-in-metadata-0123456789"


@pytest.fixture
def planted(
    sqlite_template: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    provider = Provider(tmp_path_factory.mktemp("provider"), api_key=KEY)
    path = tmp_path / "understudy.db"
    shutil.copy(sqlite_template, path)
    with provider.sandbox:
        made = Bench(provider, tmp_path, f"sqlite:///{path}")
        write_calls(made.calls, word=ROW)
        yield made
        made.close()


def stored(bench: Bench) -> dict[str, str]:
    """Every table as text."""
    found = {}
    with bench.project.store.read() as tx:
        for table in metadata.sorted_tables:
            rows = [dict(row) for row in tx.execute(sa.select(table)).mappings()]
            found[table.name] = json.dumps(rows, default=str)
    return found


def journey(bench: Bench) -> str:
    """A run with every kind of echo on its way: errors, refusals, attention, then the end."""
    bench.faults(
        {
            "on": "files.create",
            "do": "error",
            "status": 503,
            "message": f'see {SAS} for the row "is {ROW} 3 hot?"',
        },
        {"on": "fine_tuning.jobs.retrieve", "do": "error", "status": 500, "message": f"at {SAS}"},
        {"on": "fine_tuning.jobs.retrieve", "do": "echo_key", "after": 2},
        {
            "on": "chat.completions.create",
            "do": "error",
            "status": 429,
            "retry_after": 3,
            "message": f'too many for key {KEY}: "is {ROW} 7 hot?"',
        },
    )
    job = bench.start()
    assert bench.run_to(job) == "needs_attention"
    commands.retry(bench.engine, job)
    assert bench.run_to(job) == "ready"
    assert bench.fired() == [1, 1, 1, 1]
    return job


def test_nothing_planted_is_found_where_it_does_not_belong(
    planted: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        # httpx and openai log what they send at DEBUG: they count as our logs too.
        caplog.set_level(logging.DEBUG, logger=name)
    job = journey(planted)
    record = planted.job(job)
    shown = {
        "log": "\n".join(f"{one.name} {one.getMessage()} {one.exc_text}" for one in caplog.records),
        "repr of the config": repr(planted.config) + str(planted.config),
        "repr of the backend": repr(planted.project.backend("openai")),
        "repr of its settings": repr(planted.project.backend("openai").settings),
        "repr of the store": repr(planted.project.store),
        "repr of the job": repr(record) + repr(planted.op(job)),
        "repr of the sandbox": repr(planted.sandbox),
        "events": repr(planted.history(job)),
    } | {f"table {name}": text for name, text in stored(planted).items()}
    assert shown["table jobs"] != "[]"
    assert shown["table answers"] != "[]"
    leaks = {
        (place, secret)
        for place, text in shown.items()
        for secret in (KEY, KEY[3:], SIGNATURE, ROW)
        if secret in text
    }
    assert leaks == set()


def test_row_text_stands_in_the_dataset_and_nowhere_else(planted: Bench) -> None:
    journey(planted)
    planted.project.close()
    holding = {
        path.relative_to(planted.folder)
        for path in planted.folder.rglob("*")
        if path.is_file() and ROW.encode() in path.read_bytes()
    }
    assert Path("calls.jsonl") in holding
    inside = {path for path in holding if path != Path("calls.jsonl")}
    assert inside
    assert {path.parts[0] for path in inside} == {"datasets"}
    assert {path.name for path in inside} == {"train.jsonl", "validation.jsonl", "test.jsonl"}


def test_a_key_stands_in_no_file_at_all(planted: Bench) -> None:
    journey(planted)
    planted.project.close()
    for path in planted.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert KEY.encode() not in data, path
            assert SIGNATURE.encode() not in data, path


@pytest.mark.parametrize(
    "metadata_", [{"token": META}, {"note": f"use {SAS}"}, {f"{META}": "x"}], ids=range(3)
)
def test_a_secret_in_metadata_is_refused_without_repeating_it(
    bench: Bench, metadata_: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match="looks like a key") as caught:
        bench.prepare(train={"metadata": metadata_})
    assert META not in str(caught.value)
    assert SIGNATURE not in str(caught.value)
    assert bench.made() == {}
