"""The crash matrix: kill workers at every labelled point, restart them, and count what happened.

Run by ``test_crash_matrix.py``, and by hand: ``python tests/crash/matrix.py --provider azure
--kills 5``. It is a process of its own without threads, so that it may fork workers that have
everything imported.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from books import check_books
from child import Blow, preload, spawn
from crash_providers import PROVIDERS, Provider

from understudy_sandbox.launch import Sandbox

SPEED = 60.0
START = "2028-01-01T00:00:00+00:00"
PATIENCE = 240
"""Real seconds for one life of a worker; much, since other tests may use the machine."""
LAG = {"on": "*", "do": "list_lag", "seconds": 30, "times": None}
OFTEN = frozenset({"train.poll", "deploy.poll", "evaluate.asked", "evaluate.answered"})
"""Points that a job reaches many times."""


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
        provider: the backend that is driven.
        folder: where stores, datasets, recipes and logs go.
        url: the store.
        kills: how many for each label.
        seed: of the choice of labels and moments.
        lanes: jobs driven at once.
    """

    def __init__(
        self, provider: Provider, folder: Path, url: str, *, kills: int, seed: int, lanes: int
    ) -> None:
        self.provider, self.folder, self.url = provider, folder, url
        self.random = random.Random(seed)
        self.wanted = Counter(dict.fromkeys([*provider.labels, *provider.frozen_labels], kills))
        self.held = Counter(dict.fromkeys(provider.held_labels, kills))
        self.struck: Counter[str] = Counter()
        self.count = 0
        self.lanes_wanted = lanes
        self.anchor = time.time()

    def run(self) -> dict[str, Any]:
        """The whole matrix; the figures."""
        with self.sandbox("provider") as open_house, self.sandbox("provider-held") as held_house:
            started = time.monotonic()
            undisturbed = Lane(name="calm", sandbox=open_house)
            self._new_job(undisturbed, [])
            self.loop([undisturbed])
            lanes = [Lane(name=f"lane-{n}", sandbox=open_house) for n in range(self.lanes_wanted)]
            lanes.append(Lane(name="held", sandbox=held_house))
            for lane in lanes:
                self.next_job(lane)
            self.loop(lanes)
            figures = check_books(
                self.provider,
                self.url,
                [open_house.state(), held_house.state()],
                [open_house.bill(), held_house.bill()],
            )
        return {**figures, **self.told(), "seconds": round(time.monotonic() - started, 1)}

    @contextmanager
    def sandbox(self, name: str) -> Iterator[Sandbox]:
        """A provider whose lists lag by half a minute."""
        options = {
            "clock": START,
            "clock_speed": SPEED,
            "clock_anchor": self.anchor,
            "train_seconds": 40,
            **self.provider.options,
        }
        with Sandbox(self.folder / name, **options) as house:
            house.faults(LAG)
            yield house

    def told(self) -> dict[str, Any]:
        """What was done to the workers."""
        return {
            "provider": self.provider.name,
            "kills": sum(self.struck.values()),
            "by_label": dict(sorted(self.struck.items())),
        }

    def loop(self, lanes: list[Lane]) -> None:
        """Tend the lanes until all have ended; where one breaks, no worker outlives it."""
        try:
            while any(lane.recipe for lane in lanes):
                for lane in lanes:
                    if lane.recipe is not None:
                        self.tend(lane)
                signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        except BaseException:
            for pid in (pid for lane in lanes for pid in (lane.pid, lane.frozen) if pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise

    def tend(self, lane: Lane) -> None:
        if time.monotonic() > lane.deadline:
            tail = (self.folder / f"{lane.recipe.stem}.log").read_text()[-3000:]
            raise SystemExit(f"{lane.recipe.stem} got stuck at {lane.label}:\n{tail}")
        if lane.label in self.provider.held_labels:
            self._kill_held(lane)
        pid, status = os.waitpid(lane.pid, os.WNOHANG | os.WUNTRACED)
        if not pid:
            return
        self._trace(lane, status)
        if not os.WIFSTOPPED(status):
            lane.pid = 0  # another process may get its number
        if os.WIFSTOPPED(status):
            # Another worker takes the frozen one's job to its end; then it wakes.
            self.struck[str(lane.label)] += 1
            lane.frozen, lane.label = lane.pid, None
            lane.pid = self._spawn(lane, None)
        elif os.WIFSIGNALED(status):
            self.struck[lane.label or "?"] += 1
            self.killed(lane)
        elif os.WEXITSTATUS(status):
            tail = (self.folder / f"{lane.recipe.stem}.log").read_text()[-3000:]
            raise SystemExit(f"{lane.recipe.stem} broke at {lane.label}:\n{tail}")
        elif lane.frozen:
            os.kill(lane.frozen, signal.SIGCONT)
            lane.pid, lane.frozen = lane.frozen, 0
        else:
            if lane.blows or lane.label:
                self._give_back(lane)
            self.next_job(lane)

    def killed(self, lane: Lane) -> None:
        """The job goes on in a new worker."""
        self._next_blow(lane)

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
            self.kill(lane)
            lane.sandbox.faults(LAG)

    def kill(self, lane: Lane) -> None:
        """SIGKILL to its worker, if that has not ended by itself."""
        if not os.waitid(os.P_PID, lane.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            os.kill(lane.pid, signal.SIGKILL)

    def next_job(self, lane: Lane) -> None:
        if lane.name == "calm":
            lane.recipe = None
            return
        wanted = self.held if lane.name == "held" else self.wanted
        chosen = self.chosen(wanted)
        if not chosen:
            lane.recipe = None
            return
        for label in chosen:
            wanted[label] -= 1
        self._new_job(lane, chosen)

    def chosen(self, wanted: Counter[str]) -> list[str]:
        """Labels for one job, in the order in which it reaches them."""
        labels = [label for label, left in wanted.items() if left > 0]
        some = self.random.sample(labels, min(len(labels), self.random.randint(3, 8)))
        frozen = [label for label in some if label in self.provider.frozen_labels]
        # The frozen worker sleeps until its job has ended.
        return sorted(frozen[:1] or some, key=self.provider.all_labels.index)

    def _new_job(self, lane: Lane, blows: list[str]) -> None:
        self.count += 1
        # Every third student is hosted by the hour; the others in the tier that costs nothing so.
        sku = "Standard" if self.provider.deploys and self.count % 3 == 0 else None
        name = f"run-{self.count:04d}"
        lane.recipe = write_recipe(self.folder, name, self.provider.name, sku=sku)
        lane.blows = blows
        self._next_blow(lane)

    def _next_blow(self, lane: Lane) -> None:
        lane.label = lane.blows.pop(0) if lane.blows else None
        lane.deadline = time.monotonic() + PATIENCE
        lane.pid = self._spawn(lane, self.blow(lane))

    def blow(self, lane: Lane) -> Blow | None:
        """What the next worker will do to itself at the lane's label."""
        label = lane.label
        if label is None:
            return None
        if label in self.provider.held_labels:
            lane.sandbox.faults(LAG, self.provider.held_labels[label])
            return None
        if label in self.provider.frozen_labels:
            return Blow(label=self.provider.frozen_labels[label], signal=signal.SIGSTOP)
        return Blow(label=label, nth=self.random.randint(1, 3) if label in OFTEN else 1)

    def _spawn(self, lane: Lane, blow: Blow | None) -> int:
        return spawn(self.folder, lane.recipe, self.env(lane.sandbox), blow)

    def env(self, sandbox: Sandbox) -> dict[str, str]:
        """The environment of a process that works on this matrix's store and clock."""
        return {
            **self.provider.env(sandbox),
            "UNDERSTUDY_STORE": self.url,
            "UNDERSTUDY_CLOCK": f"{START},{SPEED},{self.anchor}",
        }


def write_recipe(folder: Path, name: str, backend: str, *, sku: str | None) -> Path:
    """A recipe for one small job of its own: suffix and perhaps sku are all that differs."""
    deployment = f'[deployment]\nevaluation_sku = "{sku}"' if sku else ""
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
backend = "{backend}"
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
{deployment}
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


def arguments() -> argparse.ArgumentParser:
    """What a run is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--provider", choices=PROVIDERS, default="openai")
    parser.add_argument("--store", default="sqlite")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=6)
    parser.add_argument("--folder", help="keep stores, logs and recipes here")
    return parser


def print_figures(asked: argparse.Namespace, make: Callable[..., Matrix]) -> None:
    """Print the figures of ``make(asked, provider, folder, url)`` as one line of JSON."""
    provider = PROVIDERS[asked.provider]
    preload(provider)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    with tempfile.TemporaryDirectory() as own:
        folder = Path(asked.folder or own)
        folder.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{folder}/store.db" if asked.store == "sqlite" else asked.store
        (folder / "understudy.toml").write_text(
            "[worker]\nlease_seconds = 60\npoll_seconds = 5\npoll_max_seconds = 20\n"
            + provider.settings
        )
        write_rows(folder, asked.seed)
        matrix = make(asked, provider, folder, url)
        print(json.dumps({"seed": asked.seed, **matrix.run()}))


def _make(asked: argparse.Namespace, *place: Any) -> Matrix:
    return Matrix(*place, kills=asked.kills, seed=asked.seed, lanes=asked.lanes)


if __name__ == "__main__":
    print_figures(arguments().parse_args(), _make)
