"""SmolLM2-135M, trained once for all tests of a session and all its processes, and its rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from local_kit import finished, make_backend, start, write_rows
from understudy.model import Handle, JobSpec, RemoteState
from understudy_local.artifacts import read_json, write_json
from understudy_local.backend import LocalBackend

STUDENT = "smollm2-135m"
ROWS, HELD_OUT = 320, 40
JOB = "smollm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Smollm:
    """The trained student. ``held_out`` is a file of rows as an export takes them."""

    home: Path
    model: str
    handle: Handle
    held_out: Path
    losses: tuple[float, ...]

    def backend(self, **more: Any) -> LocalBackend:
        return make_backend(self.home, **more)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.held_out.read_bytes()).hexdigest()


@cache
def rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training rows, and held-out rows with the wanted answer as ``label``: the project's task."""
    from understudy_sandbox.demo.calls import Rates, calls

    clean = Rates(
        teacher_error=0, truncated=0, flagged=0, failed=0, incomplete=0, repeated=0, follow_up=0
    )
    made = list(calls(7, ROWS + HELD_OUT, clean))
    train = [
        {"messages": [*_asked(one), {"role": "assistant", "content": one["reference"]}]}
        for one in made[:ROWS]
    ]
    held_out = [
        {
            "id": one["id"],
            "source_id": one["conversation_id"],
            "messages": _asked(one),
            "tools": [],
            "label": one["reference"],
            "reference": one["reference"],
        }
        for one in made[ROWS:]
    ]
    return train, held_out


def _asked(call: dict[str, Any]) -> list[dict[str, Any]]:
    # The teacher's long instructions are what a student learns to do without.
    return [{"role": "system", "content": "Shop query to JSON."}, *call["messages"][1:]]


def trained(shared: Path) -> Smollm:
    """The trained student in the folder ``shared``; whoever comes first trains it.

    Args:
        shared: a folder that all processes of the session know.
    """
    home, facts = shared / "home", shared / "trained.json"
    shared.mkdir(parents=True, exist_ok=True)
    held_out = shared / "held-out.jsonl"
    with FileLock(shared / "trained.lock"):
        if not facts.exists():
            write_rows(held_out, rows()[1])
            write_json(facts, _train(shared, home))
    told = read_json(facts)
    assert told is not None
    return Smollm(
        home=home,
        model=told["model"],
        handle=Handle(**told["handle"]),
        held_out=held_out,
        losses=tuple(told["losses"]),
    )


def _train(shared: Path, home: Path) -> dict[str, Any]:
    spec = JobSpec(
        base_model=STUDENT,
        method="supervised",
        training=write_rows(shared / "train.jsonl", rows()[0]),
        # As few tokens as it takes: a step on one thread is seconds.
        hyperparameters={
            "max_steps": 25,
            "batch_size": 6,
            "learning_rate": 2e-3,
            "gradient_checkpointing": False,
        },
        seed=11,
    )
    backend = make_backend(home)
    handle = start(backend, spec, JOB)
    status = finished(backend, handle, seconds=900)
    assert status.state is RemoteState.SUCCEEDED, status.problem
    seen = (event.metrics for event in backend.events(handle, after=None))
    return {
        "model": backend.model(handle).id,
        "handle": {"kind": handle.kind, "id": handle.id, "data": dict(handle.data)},
        "losses": [one["loss"] for one in seen if "loss" in one],
    }


def scored(text: str, label: str) -> float:
    """Share of the fields of ``label`` that ``text`` has right; 0 where it is no object."""
    try:
        said = json.loads(text)
    except ValueError:
        return 0.0
    wanted = json.loads(label)
    if not isinstance(said, dict):
        return 0.0
    return sum(said.get(name, object) == value for name, value in wanted.items()) / len(wanted)
