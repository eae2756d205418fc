"""Work in processes of its own: one folder a key, one process a folder, no endless trying."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path

import pytest

from local_kit import make_backend, until
from understudy.errors import NotFound
from understudy_local.artifacts import read_json
from understudy_local.export.files import discard, made_once
from understudy_local.work import (
    Work,
    WorkFailed,
    attend,
    begin,
    carry_out,
    kept_settings,
    settings_of,
)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path / "works" / "one")
    assert begin(made, {"what": "a"})
    return made


def test_a_key_is_one_piece_of_work(work):
    assert not begin(work, {"what": "b"})
    assert work.spec() == {"what": "a"}


def test_of_many_that_begin_at_once_one_does(tmp_path):
    made = Work(tmp_path / "works" / "one")
    told: list[bool] = []
    threads = [
        threading.Thread(target=lambda n=n: told.append(begin(made, {"n": n}))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False] * 7 + [True]
    assert [one.name for one in (tmp_path / "works").iterdir()] == ["one"]


def test_what_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="set home"):
        Work(tmp_path / "none").spec()


def test_its_end_is_told_once(work):
    assert work.end("succeeded", files=[])
    assert not work.fail("too late", code="late")
    assert work.outcome() == {"state": "succeeded", "files": []}


def full(_work):
    raise OSError(errno.ENOSPC, "No space left on device")


def hungry(_work):
    raise MemoryError


def refused(_work):
    raise WorkFailed("take another", code="not_that")


def unforeseen(_work):
    raise ValueError("quotes a row")


@pytest.mark.parametrize(
    ("act", "code"),
    [(full, "no_disk"), (hungry, "out_of_memory"), (refused, "not_that"), (unforeseen, "broken")],
)
def test_each_trouble_is_its_own_and_none_quotes_a_row(work, act, code, capsys):
    carry_out(work, act)
    outcome = work.outcome()
    assert outcome["state"] == "failed"
    assert outcome["problem"]["code"] == code
    assert "quotes a row" not in outcome["problem"]["message"]


def test_it_is_done_by_one_at_a_time_and_not_again(work):
    seen: list[str] = []

    def act(same):
        carry_out(same, lambda _: seen.append("second"))
        seen.append("first")
        same.end("succeeded")

    carry_out(work, act)
    carry_out(work, lambda _: seen.append("again"))
    assert seen == ["first"]


def test_a_process_that_always_dies_is_not_started_for_ever(work, monkeypatch):
    (work.path.parent / "dies_at_once.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(work.path.parent), *sys.path]))

    def look() -> dict[str, object] | None:
        attend(work, "dies_at_once", max_restarts=2, environment={})
        return work.outcome()

    outcome = until(look, seconds=60)
    assert outcome["problem"]["code"] == "killed"
    assert "3 times in a row" in outcome["problem"]["message"]
    assert read_json(work.path / "spawned.json")["tries"] == 3


def test_settings_go_to_the_process_without_secrets(tmp_path):
    settings = make_backend(tmp_path, hf_token="hf_secret", parallel_requests=7).settings
    told = kept_settings(settings)
    assert "hf_secret" not in str(told)
    back = settings_of({"settings": told})
    assert (back.parallel_requests, back.home) == (7, tmp_path)


def test_a_file_is_made_once_as_long_as_it_is_made_of_the_same(tmp_path):
    path, made = tmp_path / "file", []

    def make(into: Path) -> None:
        made.append(into)
        into.write_text(f"{len(made)}")

    first = made_once(path, {"of": "a"}, make)
    assert made_once(path, {"of": "a"}, make) == first
    assert len(made) == 1
    assert made_once(path, {"of": "b"}, make) != first
    path.write_text("cut short and longer")
    made_once(path, {"of": "b"}, make)
    assert path.read_text() == "3", "its size had changed"
    discard(path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_not_finished_is_not_there(tmp_path):
    def dies(into: Path) -> None:
        into.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made_once(tmp_path / "file", {}, dies)
    assert not (tmp_path / "file").exists()
    made_once(tmp_path / "file", {}, lambda into: into.write_text("whole"))
    assert (tmp_path / "file").read_text() == "whole"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "file.json"]
