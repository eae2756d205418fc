"""What needs no process: words of a job, identities, memory, rows as tokens, failures."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from decimal import Decimal
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_kit import CHATML, fake_student, job_spec, make_backend, until
from understudy.costs.prices import PriceBook
from understudy.model import RemoteState
from understudy_local import devices, estimate, processes
from understudy_local.artifacts import read_json, write_json, write_once
from understudy_local.devices import Memory
from understudy_local.params import LocalParams
from understudy_local.status import Look, is_resting, status_of, word_of
from understudy_local.students import students
from understudy_local.trainers.base import TrainingFailed
from understudy_local.trainers.failures import explain, less_memory
from understudy_local.trainers.rows import IGNORED, tokens_of_pair, tokens_of_row

GIB = 1 << 30


def look(state: str | None = None, **more: object) -> Look:
    told = {"outcome": None, "heartbeat": None, "alive": True, "cancel": False, "pause": False}
    return Look(worker=state and {"state": state}, **(told | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (look(), "queued"),
        (look("running"), "running"),
        (look("running", alive=False), "resuming"),
        (look("running", cancel=True), "cancelling"),
        (look("running", pause=True), "pausing"),
        (look("paused", pause=True), "paused"),
        (look("paused", pause=True, cancel=True), "cancelling"),
        (look("paused"), "resuming"),
        (look("stopped"), "resuming"),
        (look("running", outcome={"state": "failed"}), "failed"),
        (look("paused", pause=True, outcome={"state": "cancelled"}), "cancelled"),
    ],
)
def test_one_word_for_where_a_job_is(seen, word):
    assert word_of(seen) == word


@settings(deadline=None, max_examples=50)
@given(
    state=st.sampled_from(["queued", "running", "paused", "stopped", "anything"]),
    cancel=st.booleans(),
    pause=st.booleans(),
    alive=st.booleans(),
)
def test_a_job_without_outcome_never_ends_and_rests_only_when_paused(state, cancel, pause, alive):
    seen = look(state, cancel=cancel, pause=pause, alive=alive)
    status = status_of(seen, model="m")
    assert not status.state.terminal
    assert is_resting(seen) == (status.state is RemoteState.PAUSED)


def test_time_left_becomes_a_finish():
    beat = {"step": 3, "total_steps": 9, "seconds_left": 60.0, "at": 1000.0}
    status = status_of(look("running", heartbeat=beat), model="")
    assert status.progress is not None
    assert (status.progress.step, status.progress.finish_at) == (3, 1060.0)


def test_a_file_is_written_once(tmp_path):
    place = tmp_path / "outcome.json"
    assert write_once(place, {"state": "cancelled"})
    assert not write_once(place, {"state": "succeeded"})
    assert read_json(place) == {"state": "cancelled"}
    write_json(place, {"a": 1})
    assert read_json(place) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["outcome.json"]


def test_identities_tell_processes_apart(tmp_path):
    me = processes.identify()
    assert me is not None
    assert processes.is_alive(me)
    later = processes.Identity(pid=me.pid, started=me.started + 1, boot=me.boot)
    assert not processes.is_alive(later), "the pid is used again"
    elsewhere = processes.Identity(pid=me.pid, started=me.started, boot="another boot")
    assert not processes.is_alive(elsewhere)
    assert not processes.is_alive(None)
    assert processes.parse(me.to_json() | {"state": "running"}) == me
    assert processes.parse({"state": "running"}) is None
    other = processes.start(
        ["-c", "import time; time.sleep(60)"], output=tmp_path / "out", environment={}
    )
    assert processes.is_alive(other)
    assert os.getsid(other.pid) == other.pid != os.getsid(0)
    processes.signal_group(other, signal.SIGKILL)
    until(lambda: not processes.is_alive(other))


def test_a_number_that_is_used_again_names_nobody(tmp_path):
    sleeper = "import time; time.sleep(60)"
    stranger = processes.start(["-c", sleeper], output=tmp_path / "out", environment={})
    # As if the stranger's session had had another leader before.
    former = dataclasses.replace(stranger, started=stranger.started - 60, mark="of the former")
    processes.signal_group(former, signal.SIGKILL)
    processes.signal_group(dataclasses.replace(former, mark=""), signal.SIGKILL)
    assert processes.is_alive(stranger)
    processes.signal_group(stranger, signal.SIGKILL)
    until(lambda: not processes.is_alive(stranger))


def test_members_outlive_their_leader(tmp_path):
    child = "import time; time.sleep(60)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])"
    leader = processes.start(["-c", code], output=tmp_path / "out", environment={})
    until(lambda: not processes.is_alive(leader))
    assert len(processes.members(leader)) == 1
    processes.signal_group(leader, signal.SIGKILL)
    until(lambda: not processes.members(leader))


def test_the_memory_of_a_run_is_held_against_the_machine(home, tmp_path, monkeypatch):
    spec = job_spec(tmp_path, fake_student(tmp_path / "student"), "supervised", 24)
    backend = make_backend(home)
    monkeypatch.setattr(
        estimate, "memory_of", lambda _: Memory(name="the card", total=GIB // 2, free=GIB // 2)
    )
    (problem,) = backend.validate(spec)
    assert problem.field == "base_model"
    assert "the card has 0.5" in problem.message
    assert "more memory" in problem.fix


@pytest.mark.parametrize(
    ("have", "advice"),
    [(30, None), (20, "gradient_checkpointing"), (5, "take qwen3-0.6b, with")],
)
def test_the_nearest_thing_that_works_is_named(home, tmp_path, monkeypatch, have, advice):
    spec = job_spec(tmp_path, fake_student(tmp_path / "student"))
    told = {"batch_size": 16, "gradient_checkpointing": False}
    spec = dataclasses.replace(spec, base_model="smollm2-1.7b", hyperparameters=told)
    spec = dataclasses.replace(spec, training=dataclasses.replace(spec.training, longest=256))
    card = Memory(name="this machine", total=have * GIB, free=have * GIB)
    monkeypatch.setattr(estimate, "memory_of", lambda _: card)
    problems = make_backend(home).validate(spec)
    assert len(problems) == (advice is not None)
    assert all(advice in problem.fix for problem in problems)


def test_memory_grows_with_what_takes_it():
    shape = students()["smollm2-135m"].shape

    def total(method: str = "supervised", longest: int = 128, **more: object) -> int:
        params = LocalParams.model_validate(more)
        return estimate.memory(shape, params, method=method, longest=longest, kind="cpu").total

    least = total()
    assert total(batch_size=16) > least
    assert total(longest=512) > least
    assert total(lora_rank=64) > least
    assert total(gradient_checkpointing=False) > least
    assert total("dpo") > least
    assert total("bond") > total("dpo")


def test_no_disk_is_told_before(home, tmp_path, monkeypatch):
    spec = job_spec(tmp_path, fake_student(tmp_path / "student"))
    monkeypatch.setattr(estimate, "_room", lambda _: 10)
    (problem,) = make_backend(home).validate(spec)
    assert "set home to a larger disk" in problem.fix


def test_an_hour_of_the_device_can_have_a_price(home, tmp_path):
    spec = job_spec(tmp_path, fake_student(tmp_path / "student"))
    assert make_backend(home).estimate(spec).usd is None
    spec = dataclasses.replace(spec, base_model="smollm2-1.7b")
    told = make_backend(home, gpu_usd_per_hour=Decimal("1.50")).estimate(spec)
    assert told.usd is not None
    assert told.usd_at_most is not None
    assert 0 < told.usd < told.usd_at_most
    assert any("$1.50 an hour" in note for note in told.notes)


def test_what_the_device_took_is_what_it_cost():
    ended = look("succeeded", outcome={"state": "succeeded", "device_seconds": 1800.0})
    assert status_of(ended, model="m", usd_per_hour=Decimal("1.50")).usd == Decimal("0.75")
    assert status_of(ended, model="m").usd is None


def test_training_here_costs_nothing_by_declaration():
    from understudy_local.plugin import understudy_price_tables

    book = PriceBook.load(understudy_price_tables())
    assert book.training_cost("local", "any/model", 10**9) == 0
    assert book.inference_price("local", "ft:any/model").output == 0


def test_slots_are_gpus_or_the_cpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    devices._cuda.cache_clear()
    try:
        assert devices.kind_of("auto") == "cuda"
        assert devices.slots_of("cuda") == ("cuda-0", "cuda-3")
        assert devices.slots_of("cpu") == ("cpu",)
    finally:
        monkeypatch.undo()
        devices._cuda.cache_clear()


@cache
def _template():
    return pytest.importorskip("jinja2").Template(CHATML)


class Letters:
    """A tokenizer of single letters that renders ChatML."""

    def apply_chat_template(self, messages, **asked):
        text = _template().render(
            messages=messages, add_generation_prompt=asked["add_generation_prompt"]
        )
        return [ord(letter) for letter in text]


TEXT = st.text(min_size=1, max_size=12)


@settings(deadline=None, max_examples=50)
@given(asked=TEXT, answer=TEXT, earlier=st.lists(TEXT, max_size=2))
def test_only_the_answer_is_learnt(asked, answer, earlier):
    before = [{"role": "system", "content": text} for text in earlier]
    messages = [*before, {"role": "user", "content": asked}]
    whole = {"messages": [*messages, {"role": "assistant", "content": answer}]}
    made = tokens_of_row(whole, tokenizer=Letters(), max_length=10_000)
    learnt = "".join(chr(t) for t in made["labels"] if t != IGNORED)
    assert learnt == f"{answer}<|im_end|>\n"
    assert len(made["labels"]) == len(made["input_ids"])


@settings(deadline=None, max_examples=50)
@given(asked=TEXT, good=TEXT, bad=TEXT)
def test_both_answers_of_a_pair_follow_one_prompt(asked, good, bad):
    row = {
        "input": {"messages": [{"role": "user", "content": asked}]},
        "preferred_output": [{"role": "assistant", "content": good}],
        "non_preferred_output": [{"role": "assistant", "content": bad}],
    }
    made = tokens_of_pair(row, tokenizer=Letters(), max_length=10_000)
    prompt = "".join(map(chr, made["prompt_ids"]))
    assert prompt.endswith("<|im_start|>assistant\n")
    assert asked in prompt
    assert "".join(map(chr, made["chosen_ids"])) == f"{good}<|im_end|>\n"
    assert "".join(map(chr, made["rejected_ids"])) == f"{bad}<|im_end|>\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "full"), "no_disk"),
        (RuntimeError("Error: No space left on device (os error 28)"), "no_disk"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (TrainingFailed("x", code="nan_loss"), "nan_loss"),
        (ValueError("a row: secret"), "crashed"),
    ],
)
def test_each_trouble_has_its_own_error(error, code):
    told = explain(error, LocalParams(), "cuda")
    assert told.code == code
    assert "secret" not in str(told)


def test_advice_is_only_what_would_help():
    most = less_memory(LocalParams(gradient_checkpointing=False), "cuda")
    assert "batch_size = 4" in most
    assert '"4bit"' in most
    assert "gradient_checkpointing" in most
    least = less_memory(LocalParams(batch_size=1, max_length=256, quantize="4bit"), "cuda")
    assert least == "or a smaller student (`understudy students`)"


def test_plugin_and_command_import_nothing_heavy():
    code = (
        "import sys, understudy_local.plugin, understudy_local.backend, understudy_local.commands;"
        "heavy = {'torch', 'transformers', 'trl', 'datasets', 'numpy', 'pyarrow'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
