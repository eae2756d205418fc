"""Exports of a tiny model: what is made, proven, kept, refused and taken up again."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from export_kit import (
    FORMATS,
    ended,
    export_spec,
    held_out,
    make_llama,
    make_trained,
    no_servers_left,
    ordered,
)
from local_kit import make_backend, until
from understudy.errors import InvalidData, NotFound
from understudy.model import Absent, Found, Handle, RemoteState
from understudy_local import processes
from understudy_local.artifacts import JobFolder, read_json, sha256_of
from understudy_local.export import making, room, tools
from understudy_local.export.making import Making
from understudy_local.work import Work, WorkFailed

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("trl", "cyllama", "xllamacpp"):
        pytest.importorskip(package, reason="needs understudy-local[train,gguf]")
    return make_llama(tmp_path_factory.mktemp("llama") / "tiny")


@pytest.fixture(scope="module")
def exported(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """One export that went well."""
    home = tmp_path_factory.mktemp("exported")
    make_trained(home, base)
    work = ordered(home, export_spec(held_out(home)))
    with no_servers_left(home):
        Making(work).run()
    return work


@pytest.fixture
def again(exported: Work, tmp_path: Path) -> Work:
    """A copy of its home with the same export to be made once more, under another key."""
    home = tmp_path / "home"
    # A server that still runs has a pipe there, which cannot be copied.
    shutil.copytree(exported.path.parents[3], home, ignore=shutil.ignore_patterns("servers"))
    return ordered(home, export_spec(home / "held-out.jsonl"), "export-2")


def files_of(work: Work) -> dict[str, dict[str, object]]:
    outcome = work.outcome()
    assert outcome is not None
    assert outcome["state"] == "succeeded", outcome
    return {one["format"]: one for one in outcome["files"]}


def test_every_format_is_made_with_its_sha256(exported: Work) -> None:
    files = files_of(exported)
    assert set(files) == {"adapter", "merged", *FORMATS}
    for one in files.values():
        assert sha256_of(exported.path.parents[1] / str(one["path"])) == one["sha256"]
    sizes = [int(str(files[name]["bytes"])) for name in FORMATS]
    assert sizes == sorted(sizes, reverse=True)


def test_f16_is_the_trained_model_to_the_last_digits(exported: Work) -> None:
    measures = files_of(exported)["f16"]["measures"]
    assert isinstance(measures, dict)
    assert measures["kl"] <= 1e-3
    assert measures["top1"] >= 0.99
    assert measures["tokens"] > 40


def test_all_answered_the_held_out_rows_through_the_server(exported: Work) -> None:
    said = {
        source: (exported.path / "answers" / f"{source}.jsonl").read_text().splitlines()
        for source in ("trained", *FORMATS)
    }
    assert {len(lines) for lines in said.values()} == {4}
    assert said["f16"] == said["trained"], "greedy answers of the same model are the same"


def test_ollama_finds_its_file_and_its_end(exported: Work) -> None:
    gguf = exported.path.parents[1] / "gguf"
    text = (gguf / "Modelfile").read_text()
    assert text.startswith("FROM ./model-q4_k_m.gguf\n")
    assert 'PARAMETER stop "<|im_end|>"' in text


def test_large_logits_are_not_kept(exported: Work) -> None:
    assert list(exported.path.rglob("*.npy")) == []


def test_nothing_is_made_or_fetched_twice(again: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf = again.path.parents[1] / "gguf"
    before = {path.name: path.stat().st_mtime_ns for path in gguf.glob("*.gguf")}

    def never(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(tools, "convert", never)
    monkeypatch.setattr(tools, "quantize", never)
    with no_servers_left(again.path.parents[3]):
        Making(again).run()
    assert {path.name: path.stat().st_mtime_ns for path in gguf.glob("*.gguf")} == before
    assert set(files_of(again)) == {"adapter", "merged", *FORMATS}


def test_a_damaged_file_is_found_out_and_removed(again: Work) -> None:
    path = again.path.parents[1] / "gguf" / "model-f16.gguf"
    with path.open("r+b") as file:
        # In the middle of the weights; the size stays, so only its content tells.
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(path.stat().st_size // 4))
    with no_servers_left(again.path.parents[3]), pytest.raises(WorkFailed) as caught:
        Making(again).run()
    assert caught.value.code == "garbled"
    assert "f16" in str(caught.value)
    assert not path.exists()


def test_a_lost_chat_template_is_found_out(again: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    real = making.Reference.facts

    def other(self: making.Reference) -> dict[str, object] | None:
        told = real(self)
        return told if told is None else {**told, "template": "another"}

    monkeypatch.setattr(making.Reference, "facts", other)
    with no_servers_left(again.path.parents[3]), pytest.raises(WorkFailed, match="chat template"):
        Making(again).run()


def test_held_out_rows_that_changed_are_refused(again: Work) -> None:
    path = again.path.parents[3] / "held-out.jsonl"
    path.write_text(path.read_text().replace("lamp", "pear"))
    with pytest.raises(WorkFailed, match="was changed since"):
        Making(again)


def test_a_full_disk_is_told_before_anything_is_begun(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_trained(tmp_path, base)
    work = ordered(tmp_path, export_spec(held_out(tmp_path)))
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(WorkFailed, match=r"free some, set home .* or ask for fewer") as caught:
        Making(work).run()
    assert caught.value.code == "no_disk"
    assert not (tmp_path / "jobs" / "job-1" / "merged").exists()


def test_too_little_memory_is_told_before_anything_is_begun(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        room.devices, "memory_of", lambda _: room.devices.Memory(name="m", total=1, free=1)
    )
    with pytest.raises(WorkFailed, match="take a smaller student") as caught:
        room.need_room(base, tmp_path, FORMATS)
    assert caught.value.code == "out_of_memory"


def test_a_model_that_the_converter_does_not_know_says_so(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match="take another student") as caught:
        tools.convert(tiny, tmp_path / "out.gguf", offline=False)
    assert caught.value.code == "not_converted"
    assert not (tmp_path / "out.gguf").exists()


def test_killed_anywhere_it_goes_on_where_it_was(base: Path, home: Path) -> None:
    make_trained(home, base)
    backend = make_backend(home)
    spec = export_spec(held_out(home), formats=("f16", "q8_0"), serve="q8_0")
    handle = backend.start_export(spec, key="export-1")
    work = Work(home / "jobs" / "job-1" / "exports" / "export-1")
    until(lambda: work.progress().get("doing") == "writing q8_0", seconds=200)
    f16 = home / "jobs" / "job-1" / "gguf" / "model-f16.gguf"
    made = f16.stat().st_mtime_ns
    worker = processes.parse(read_json(work.path / "worker.json"))
    assert worker is not None
    processes.signal_group(worker, signal.SIGKILL)
    until(lambda: not processes.is_alive(worker))
    assert isinstance(backend.find_export(spec, key="export-1"), Found)
    # Another process of the user's looks, and so takes it up again.
    with no_servers_left(home):
        status = ended(make_backend(home), handle)
    assert status.state is RemoteState.SUCCEEDED, status.problem
    assert f16.stat().st_mtime_ns == made
    assert make_backend(home).exported(handle).model == "ft:tiny:job-1:q8_0"


def test_what_cannot_be_exported_is_refused(home: Path, tmp_path: Path) -> None:
    backend = make_backend(home)
    spec = export_spec(held_out(tmp_path))
    with pytest.raises(InvalidData, match="there is no trained model"):
        backend.start_export(spec, key="e")
    with pytest.raises(InvalidData, match="'q9' is no GGUF format"):
        backend.start_export(dataclasses.replace(spec, formats=("q9",)), key="e")
    assert isinstance(backend.find_export(spec, key="e"), Absent)
    assert isinstance(backend.find_export(dataclasses.replace(spec, model="gpt"), key="e"), Absent)


def test_the_model_card_tells_lineage_licence_and_scores(again: Work, exported: Work) -> None:
    home = again.path.parents[3]
    backend = make_backend(home)
    handle = backend.find_export(export_spec(home / "held-out.jsonl"), key="export-1").handle  # type: ignore[union-attr]
    card = {
        "name": "lamps",
        "scores": {"trained": "0.9", "q4_k_m": "0.8 (95 % interval 0.7 to 0.9, 40 rows)"},
        "lineage": {"job": "job-77", "base_model": "tiny", "method": "supervised"},
    }
    backend.describe_export(handle, card)
    text = (JobFolder(home / "jobs" / "job-1").gguf / "README.md").read_text()
    for told in ("# lamps", "0.8 (95 % interval 0.7 to 0.9, 40 rows)", "`job-77`", "none"):
        assert told in text
    assert str(files_of(exported)["q4_k_m"]["sha256"]) in text


def test_handles_of_nothing_are_not_found(home: Path) -> None:
    backend = make_backend(home)
    for name in ("a/b", "a/../b", "nothing"):
        for look in (backend.poll_export, backend.exported):
            with pytest.raises(NotFound):
                look(Handle(kind="export", id=name))
