"""The crash matrix: kill workers at every labelled point, restart them, and count what happened.

Run by ``test_crash_matrix.py``, and by hand: ``python tests/crash/matrix.py --kills 5``. It is a
process of its own without threads, so that it may fork workers that have everything imported.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from books import check_books
from child import Blow, preload, spawn

from understudy.engine.points import LABELS
from understudy_sandbox.launch import Sandbox

SPEED = 60.0
START = "2028-01-01T00:00:00+00:00"
HELD = {"held.files.create": "hold_before", "held.fine_tuning.jobs.create": "hold_after"}
FROZEN = "frozen.train.sending-stored"


@dataclass
class Lane:
    """One job at a time, with the blows that are still to be struck at it."""

    name: str
    sandbox: Sandbox
    blows: list[str] = field(default_factory=list)
    recipe: Path | None = None
    pid: int = 0
    label: str | None = None
    frozen: int = 0
    deadline: float = 0.0


class Matrix:
    """Runs lanes until every label has had its kills.

    Args:
        folder: where stores, datasets, recipes and logs go.
        url: the store.
        kills: how many for each label.
        seed: of the choice of labels and moments.
        lanes: jobs driven at once.
    """

    def __init__(self, folder: Path, url: str, *, kills: int, seed: int, lanes: int) -> None:
        self.folder, self.url = folder, url
        self.random = random.Random(seed)
        self.wanted = Counter(dict.fromkeys(LABELS, kills))
        self.held = Counter(dict.fromkeys(HELD, kills))
        self.wanted[FROZEN] = kills
        self.struck: Counter[str] = Counter()
        self.count = 0
        self.lanes_wanted = lanes
        self.anchor = time.time()

    def run(self) -> dict[str, Any]:
        """The whole matrix; the figures."""
        options = {
            "clock": START,
            "clock_speed": SPEED,
            "clock_anchor": self.anchor,
            "train_seconds": 40,
        }
        with (
            Sandbox(self.folder / "provider", **options) as open_house,
            Sandbox(self.folder / "provider-held", **options) as held_house,
        ):
            lag = {"on": "*", "do": "list_lag", "seconds": 30, "times": None}
            for house in (open_house, held_house):
                house.faults(lag)
            self.lag = lag
            started = time.monotonic()
            undisturbed = Lane(name="calm", sandbox=open_house)
            self._new_job(undisturbed, [])
            self._loop([undisturbed])
            lanes = [Lane(name=f"lane-{n}", sandbox=open_house) for n in range(self.lanes_wanted)]
            lanes.append(Lane(name="held", sandbox=held_house))
            for lane in lanes:
                self._next_job(lane)
            self._loop(lanes)
            figures = check_books(
                self.url,
                [open_house.state(), held_house.state()],
                [open_house.bill(), held_house.bill()],
            )
        return {
            **figures,
            "kills": sum(self.struck.values()),
            "by_label": dict(sorted(self.struck.items())),
            "seconds": round(time.monotonic() - started, 1),
        }

    def _loop(self, lanes: list[Lane]) -> None:
        while any(lane.recipe for lane in lanes):
            for lane in lanes:
                if lane.recipe is not None:
                    self._tend(lane)
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)

    def _tend(self, lane: Lane) -> None:
        if time.monotonic() > lane.deadline:
            tail = (self.folder / f"{lane.recipe.stem}.log").read_text()[-3000:]
            raise SystemExit(f"{lane.recipe.stem} got stuck at {lane.label}:\n{tail}")
        if lane.label in HELD:
            self._kill_held(lane)
        pid, status = os.waitpid(lane.pid, os.WNOHANG | os.WUNTRACED)
        if not pid:
            return
        self._trace(lane, status)
        if os.WIFSTOPPED(status):
            # Another worker takes the frozen one's job to its end; then it wakes.
            lane.frozen, lane.label = lane.pid, None
            self.struck[FROZEN] += 1
            lane.pid = self._spawn(lane, None)
        elif os.WIFSIGNALED(status):
            self.struck[lane.label or "?"] += 1
            self._next_blow(lane)
        elif os.WEXITSTATUS(status):
            tail = (self.folder / f"{lane.recipe.stem}.log").read_text()[-3000:]
            raise SystemExit(f"{lane.recipe.stem} broke at {lane.label}:\n{tail}")
        elif lane.frozen:
            os.kill(lane.frozen, signal.SIGCONT)
            lane.pid, lane.frozen = lane.frozen, 0
        elif lane.blows:
            self._give_back(lane)
            self._next_job(lane)
        else:
            if lane.label:
                self._give_back(lane)
            self._next_job(lane)

    def _trace(self, lane: Lane, status: int) -> None:
        """One line in the job's log, so that a failure can be read."""
        now = (time.time() - self.anchor) * SPEED
        with (self.folder / f"{lane.recipe.stem}.log").open("a") as log:
            log.write(f"[{now:.1f}] pid {lane.pid} ended with {status} at {lane.label}\n")

    def _give_back(self, lane: Lane) -> None:
        """The job ended before these blows fell: some other job will have to take them."""
        wanted = self.held if lane.name == "held" else self.wanted
        for label in [*([lane.label] if lane.label else []), *lane.blows]:
            wanted[label] += 1
        lane.blows, lane.label = [], None

    def _kill_held(self, lane: Lane) -> None:
        if lane.sandbox.held():
            os.kill(lane.pid, signal.SIGKILL)
            lane.sandbox.faults(self.lag)

    def _next_job(self, lane: Lane) -> None:
        if lane.name == "calm":
            lane.recipe = None
            return
        wanted = self.held if lane.name == "held" else self.wanted
        labels = [label for label, left in wanted.items() if left > 0]
        if not labels:
            lane.recipe = None
            return
        chosen = self.random.sample(labels, min(len(labels), self.random.randint(3, 8)))
        if FROZEN in chosen:
            chosen = [FROZEN]  # the frozen worker sleeps until its job has ended
        for label in chosen:
            wanted[label] -= 1
        order = [*HELD, *LABELS, FROZEN]
        self._new_job(lane, sorted(chosen, key=order.index))

    def _new_job(self, lane: Lane, blows: list[str]) -> None:
        self.count += 1
        lane.recipe = write_recipe(self.folder, f"run-{self.count:04d}")
        lane.blows = blows
        self._next_blow(lane)

    def _next_blow(self, lane: Lane) -> None:
        lane.label = lane.blows.pop(0) if lane.blows else None
        blow = None
        if lane.label in HELD:
            rule = {"on": lane.label.removeprefix("held."), "do": HELD[lane.label]}
            lane.sandbox.faults(self.lag, rule)
        elif lane.label == FROZEN:
            blow = Blow(label="train.sending-stored", signal=signal.SIGSTOP)
        elif lane.label is not None:
            often = lane.label in {"train.poll", "evaluate.asked", "evaluate.answered"}
            blow = Blow(label=lane.label, nth=self.random.randint(1, 3) if often else 1)
        lane.deadline = time.monotonic() + 90
        lane.pid = self._spawn(lane, blow)

    def _spawn(self, lane: Lane, blow: Blow | None) -> int:
        env = {
            "OPENAI_API_KEY": lane.sandbox.api_key,
            "OPENAI_BASE_URL": lane.sandbox.url,
            "UNDERSTUDY_STORE": self.url,
            "UNDERSTUDY_CLOCK": f"{START},{SPEED},{self.anchor}",
        }
        return spawn(self.folder, lane.recipe, env, blow)


def write_recipe(folder: Path, name: str) -> Path:
    """A recipe for one small job of its own: only the suffix differs between jobs."""
    path = folder / f"{name}.toml"
    path.write_text(
        f"""
name = "crash"
[source]
kind = "chat"
path = "rows.jsonl"
[split]
train = 0.6
validation = 0.2
test = 0.2
[train]
backend = "openai"
base_model = "gpt-4o-mini-2024-07-18"
suffix = "{name}"
[train.hyperparameters]
n_epochs = 2
[evaluation]
scorer = "exact"
bar = 0.1
concurrency = 2
max_output_tokens = 20
[budget]
name = "all-crashes"
limit_usd = 1000
""",
        encoding="utf-8",
    )
    return path


def write_rows(folder: Path, seed: int) -> None:
    """Forty labelled lines: enough to learn, quick to train."""
    chance = random.Random(seed)
    words = {"refund": "money back return", "parcel": "package late where", "login": "password in"}
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(40):
            label = chance.choice(sorted(words))
            text = " ".join(chance.choices(words[label].split(), k=4)) + f" {number}"
            messages = [
                {"role": "system", "content": "Name the topic."},
                {"role": "user", "content": text},
                {"role": "assistant", "content": label},
            ]
            file.write(json.dumps({"messages": messages}) + "\n")


def main() -> None:
    """Print the figures as one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", default="sqlite")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=6)
    parser.add_argument("--folder", help="keep stores, logs and recipes here")
    asked = parser.parse_args()
    preload()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    with tempfile.TemporaryDirectory() as own:
        folder = Path(asked.folder or own)
        folder.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{folder}/store.db" if asked.store == "sqlite" else asked.store
        (folder / "understudy.toml").write_text(
            "[worker]\nlease_seconds = 60\npoll_seconds = 5\npoll_max_seconds = 20\n"
        )
        write_rows(folder, asked.seed)
        matrix = Matrix(folder, url, kills=asked.kills, seed=asked.seed, lanes=asked.lanes)
        print(json.dumps({"seed": asked.seed, **matrix.run()}))


if __name__ == "__main__":
    main()
