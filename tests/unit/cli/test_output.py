from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from understudy.cli import output
from understudy.states import State


@dataclass(frozen=True)
class Record:
    path: Path
    money: Decimal
    state: State
    names: frozenset[str]
    secret: SecretStr


class Model(BaseModel):
    secret: SecretStr = SecretStr("sk-planted")


def test_json_takes_our_records_and_hides_secrets(capsys):
    record = Record(
        path=Path("a/b"),
        money=Decimal("1.50"),
        state=State.READY,
        names=frozenset({"b", "a"}),
        secret=SecretStr("sk-planted"),
    )
    output.print_json([record, Model()])
    text = capsys.readouterr().out
    assert "planted" not in text
    assert json.loads(text) == [
        {
            "path": "a/b",
            "money": "1.50",
            "state": "ready",
            "names": ["a", "b"],
            "secret": "**********",
        },
        {"secret": "**********"},
    ]


def test_json_refuses_what_it_does_not_know():
    with pytest.raises(TypeError, match="object"):
        output.print_json({"x": object()})


def test_a_piped_table_is_tab_separated_lines(capsys):
    output.table(["name", "count"], [["a [b]\nc", 1], [None, 2]], title="not shown")
    assert capsys.readouterr().out == "name\tcount\na [b] c\t1\n\t2\n"


def test_a_table_on_a_terminal_is_drawn(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.table(["name"], [["[red]plain[/red]"]], title="Things")
    out = capsys.readouterr().out
    assert "Things" in out
    assert "[red]plain[/red]" in out
    assert "\t" not in out


def test_show_as_json_keeps_all_fields(capsys):
    output.show([{"a": 1, "b": 2}], ["a"], as_json=True)
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "b": 2}]
    output.show([{"a": 1, "b": 2}], ["a"], as_json=False)
    assert capsys.readouterr().out == "a\n1\n"


def test_piped_progress_is_a_few_plain_lines_on_stderr(capsys, monkeypatch):
    now = iter(range(100, 200))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with output.progress("upload", 12) as bar:
        for done in range(1, 13):
            bar.update(done, f"loss {done}")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "upload: 1/12 loss 1",
        "upload: 6/12 loss 6",
        "upload: 11/12 loss 11",
        "upload: 12/12 loss 12",
    ]


def test_progress_on_a_terminal_is_drawn_on_stderr(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with output.progress("training", 4) as bar:
        bar.update(4, "loss 0.1")
    out, err = capsys.readouterr()
    assert out == ""
    assert "training" in err
    assert "4/4 loss 0.1" in err


def test_quiet_progress_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with output.progress("training", quiet=True) as bar:
        bar.update(1)
    assert capsys.readouterr() == ("", "")
