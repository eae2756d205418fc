"""What can go wrong between a source and a dataset, and what is left behind then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.data import Dataset, chunks
from understudy.data import lines as lines_module
from understudy.data.folder import Draft
from understudy.errors import DataError
from understudy.recipe import Split


def chat(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"question {number}"},
            {"role": "assistant", "content": f"answer {number}"},
        ]
    }


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rejected(dataset: Dataset) -> list[tuple[int, str, str]]:
    rows = read(dataset.path / "rejected.jsonl")
    return [(row["line"], row["reason"], row["field"]) for row in rows]


def test_too_few_rows_says_how_many_and_why(run: Any, root: Path) -> None:
    rows = [chat(n) for n in range(7)] + [{"messages": []}, b"{\n", b"{\n", {"my-secret": 1}]
    with pytest.raises(DataError) as caught:
        run(rows)
    told = str(caught.value)
    assert "7 usable training rows, 10 are needed" in told
    assert "Of 11 lines, 0 blank" in told
    assert "broken_json 2 (first: line 9)" in told
    assert "no_messages 1 (first: line 8 [messages])" in told
    assert "my-secret" not in told
    (kept,) = (root / "failed").iterdir()
    assert str(kept) in told
    assert len(read(kept)) == 4
    assert not list(root.glob("ds-*"))
    assert not list(root.glob(".draft-*"))


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_share_that_got_no_row_is_told(run: Any, name: str) -> None:
    split = Split(**({"train": 0.9999, "validation": 0, "test": 0} | {name: 0.0001}))
    with pytest.raises(DataError, match=rf"no row fell to {name}.*split\.seed"):
        run([chat(n) for n in range(15)], split=split)


def test_an_absent_source_is_a_clear_error(run: Any, source: Path) -> None:
    with pytest.raises(DataError, match="check the path") as caught:
        run()
    assert caught.value.file == str(source)


def test_a_source_that_grows_meanwhile_is_refused(run: Any, source: Path, root: Path) -> None:
    def grow(_: int) -> None:
        with source.open("ab") as file:
            file.write(b"\n")

    with pytest.raises(DataError, match="changed while it was read"):
        run([chat(n) for n in range(20)], progress=grow)
    assert not list(root.glob("*ds-*"))


def test_a_huge_line_is_rejected_and_the_rest_goes_on(
    run: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = b"".join(json.dumps(chat(n)).encode() + b"\n" for n in range(10))
    with source.open("wb") as file:
        file.seek(40 << 20)
        file.write(b"\n" + good)
    made = run()
    assert rejected(made) == [(1, "line_too_big", "")]
    (row,) = read(made.path / "rejected.jsonl")
    assert str(40 << 20) in row["message"]
    assert row["bytes"] == 40 << 20
    assert made.kept == 10


def test_progress_tells_the_lines_read(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    line = len(json.dumps(chat(1))) + 1
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 5 * line - 1)
    told: list[int] = []
    run([chat(n % 10) for n in range(12)], progress=told.append)
    assert told == [5, 10, 12]


def test_an_interrupted_run_leaves_nothing(run: Any, root: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([chat(n) for n in range(20)], progress=stop)
    assert list(root.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from understudy.data import prepare
from understudy.recipe import Cleaning, Source, Split
prepare(source=Source(kind="chat", path=Path(sys.argv[1])), cleaning=Cleaning(), split=Split(),
        method="supervised", root=Path(sys.argv[2]),
        progress=lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_what_a_killed_run_left_is_removed_by_the_next(run: Any, source: Path, root: Path) -> None:
    source.write_text("".join(json.dumps(chat(n)) + "\n" for n in range(20)), "utf-8")
    done = subprocess.run([sys.executable, "-c", KILLED, source, root], check=False)
    assert done.returncode < 0
    assert [path.name[:7] for path in root.iterdir()] == [".draft-"]
    made = run()
    assert sorted(path.name for path in root.iterdir()) == [".prepared", made.id]


def test_a_living_draft_is_left_alone(run: Any, root: Path) -> None:
    root.mkdir()
    with Draft(root) as other:
        run([chat(n) for n in range(20)])
        assert other.path.is_dir()
    assert not other.path.exists()


def test_two_runs_at_once_make_one_dataset(run: Any, root: Path) -> None:
    made: list[Dataset] = []

    def meanwhile(_: int) -> None:
        if not made:
            made.append(Dataset)  # type: ignore[arg-type]
            made[0] = run()

    outer = run([chat(n) for n in range(20)], progress=meanwhile)
    assert outer == made[0]
    assert sorted(path.name for path in root.iterdir()) == [".prepared", outer.id]


pieces = st.one_of(
    st.integers(0, 30).map(lambda n: json.dumps(chat(n)).encode()),
    st.sampled_from([b"", b" ", b"{", b"[]", b"{}", b"\xff", b'{"messages": []}', b"x" * 300]),
    st.binary(max_size=20).filter(lambda raw: b"\n" not in raw),
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
@given(
    body=st.lists(pieces, max_size=25), end=st.sampled_from([b"\n", b"\r\n"]), last=st.booleans()
)
def test_no_line_is_lost(
    run: Any,
    source: Path,
    tmp_path_factory: pytest.TempPathFactory,
    body: list[bytes],
    end: bytes,
    *,
    last: bool,
) -> None:
    good = [json.dumps(chat(n)).encode() for n in range(100, 110)]
    content = end.join([*good, *body]) + (end if last else b"")
    made = run([content], root=tmp_path_factory.mktemp("lost"))
    assert made.kept + made.dropped + made.blank == made.lines
    assert made.lines == len(list(lines_module.read_lines(source)))
    assert made.dropped == len(read(made.path / "rejected.jsonl"))
    assert made.kept == len(read(made.path / "train.jsonl"))


def test_a_folder_in_the_way_is_a_clear_error(run: Any, root: Path) -> None:
    made = run([chat(n) for n in range(20)])
    (made.path / "manifest.json").unlink()
    with pytest.raises(DataError, match="remove it and run again") as caught:
        run()
    assert caught.value.file == str(made.path)


def test_a_planted_secret_is_in_no_error(run: Any) -> None:
    secret = "sk-planted"
    bad = [
        {"messages": [{"role": secret, "content": secret}]},
        {secret: secret},
        {"messages": [{"role": "user", "content": secret + "\0"}]},
        {"messages": [{"role": "user", secret: secret}]},
    ]
    with pytest.raises(DataError) as caught:
        run([*bad, secret.encode() + b"\n"])
    assert secret not in str(caught.value)
