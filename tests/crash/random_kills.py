"""Kills at random points and moments, with or without a worker that comes back afterwards.

With one, the books must be as after the matrix and nothing may stand. Without one, what stands
must name its owner and its end, be found from another machine with an empty store, and cost no
more than the documentation says (docs/decisions/0008). Run it by hand:
``python tests/crash/random_kills.py --provider azure --kills 50 --abandon``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from books import check_books
from child import Blow
from matrix import Lane, Matrix, arguments, print_figures

from understudy_sandbox.launch import Sandbox

DAY = 86400
ANYWHERE = "anywhere"
LONGEST = 3.0
"""Real seconds into a job's life after which no kill falls by the clock."""
LEAVES = "deploy.stored"


@dataclass
class DoomedLane(Lane):
    """A lane whose worker is killed at a moment of real time."""

    kill_at: float = float("inf")


class RandomKills(Matrix):
    """Strikes anywhere. ``abandon``: the job of a killed worker is never taken up again."""

    def __init__(self, *args: Any, abandon: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self.abandon = abandon
        self.wanted = Counter({ANYWHERE: options["kills"]})
        # Aimed, so that there is always something left: one free by the hour, and one billed.
        self.aimed = [LEAVES] * 3 if abandon else []

    def run(self) -> dict[str, Any]:
        """All kills; the figures."""
        started = time.monotonic()
        with self.sandbox("provider") as house:
            lanes = [DoomedLane(name=f"lane-{n}", sandbox=house) for n in range(self.lanes_wanted)]
            for lane in lanes:
                self.next_job(lane)
            self.loop(lanes)
            found = self._abandoned(house) if self.abandon else self._carried_on(house)
        return {**found, **self.told(), "seconds": round(time.monotonic() - started, 1)}

    def chosen(self, wanted: Counter[str]) -> list[str]:
        """One blow at a job that nobody takes up again; else up to three."""
        most = 1 if self.abandon else self.random.randint(1, 3)
        return [ANYWHERE] * min(most, wanted[ANYWHERE])

    def blow(self, lane: Lane) -> Blow | None:
        """At a point, or at a moment."""
        assert isinstance(lane, DoomedLane)
        lane.kill_at = float("inf")
        if lane.label is None:
            return None
        if self.aimed:
            return Blow(label=self.aimed.pop())
        if self.random.random() < 0.5:
            return Blow(label=self.random.choice(self.provider.labels))
        lane.kill_at = time.monotonic() + self.random.uniform(0, LONGEST)
        return None

    def tend(self, lane: Lane) -> None:
        """Kill it if its moment has come."""
        assert isinstance(lane, DoomedLane)
        if time.monotonic() >= lane.kill_at:
            lane.kill_at = float("inf")
            self.kill(lane)
        super().tend(lane)

    def killed(self, lane: Lane) -> None:
        """On with the next job, where nobody comes back."""
        if self.abandon:
            self.next_job(lane)
        else:
            super().killed(lane)

    def _carried_on(self, house: Sandbox) -> dict[str, Any]:
        return check_books(self.provider, self.url, [house.state()], [house.bill()])

    def _abandoned(self, house: Sandbox) -> dict[str, Any]:
        house.advance(60)  # what was being deleted is gone, and the lists have caught up
        left = house.state()["deployments"]
        for one in left:
            tags = one["tags"]
            assert tags["understudy_owner"], one
            assert tags["understudy_delete_by"], one
            assert one["sku"] in {"DeveloperTier", "Standard"}, one
        orphans = self._understudy(house, "list", "--orphans", "--json")
        names = {one["name"] for one in orphans}
        assert names == {one["id"].rsplit("/", 1)[-1] for one in left}, "not all were found"
        billed = [one for one in orphans if Decimal(one["hourly"])]
        assert {one["sku"] for one in billed} <= {"Standard"}
        for one in billed:
            self._understudy(house, "stop", one["name"], "--backend", "azure", "--json")
        before = house.bill()
        house.advance(2 * DAY)
        after = house.bill()
        assert house.state()["deployments"] == [], "the service deletes its developer tier's"
        assert _hosting(before) == _hosting(after), "something was billed on"
        assert _hosting(after, "developer") == 0
        return {
            "left": len(left),
            "left_billed": len(billed),
            "hosting_usd": str(_hosting(after)),
        }

    def _understudy(self, house: Sandbox, *words: str) -> Any:
        """The output of the command, on another machine: in a folder without a store."""
        folder = self.folder / "elsewhere"
        folder.mkdir(exist_ok=True)
        (folder / "understudy.toml").write_text(self.provider.settings)
        done = subprocess.run(
            [sys.executable, "-m", "understudy.cli", "deployments", *words],
            cwd=folder,
            env={**os.environ, **self.env(house), "UNDERSTUDY_STORE": "sqlite:///none.db"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)


def _hosting(bill: dict[str, Any], tier: str | None = None) -> Decimal:
    rows = [row for row in bill["entries"] if row["kind"] == "hosting"]
    chosen = [row for row in rows if tier in {None, row["tier"]}]
    return sum((Decimal(row["usd"]) for row in chosen), Decimal(0))


def main() -> None:
    """Print the figures as one line of JSON."""
    parser = arguments()
    parser.add_argument("--abandon", action="store_true", help="let no worker come back")

    def make(asked: Namespace, *place: Any) -> Matrix:
        limits = {"kills": asked.kills, "seed": asked.seed, "lanes": asked.lanes}
        return RandomKills(*place, abandon=asked.abandon, **limits)

    print_figures(parser.parse_args(), make)


if __name__ == "__main__":
    main()
