"""The engine under any order of faults, crashes, freezes, commands and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest
import sqlalchemy as sa
from engine_kit import Crash, World, crash_at
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from understudy.data import Dataset
from understudy.engine import commands
from understudy.engine.points import LABELS
from understudy.errors import ConfigError, IllegalTransition
from understudy.states import TERMINAL
from understudy.store import Store, schema
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError

FREE = [
    FakeHTTPError(500, "oops"),
    FakeHTTPError(429, "slow down", retry_after=30.0),
    FakeHTTPError(401, "no"),
    FakeConnectionError("cut"),
]
LATE = [FakeHTTPError(500, "oops"), FakeConnectionError("cut")]
"""Faults after which the request has had its effect."""
COMMANDS = [commands.cancel, commands.pause, commands.resume, commands.retry]


class Life(RuleBasedStateMachine):
    """Up to three jobs at a time."""

    store: Store
    dataset: Dataset

    @initialize()
    def begin(self) -> None:
        with self.store.write() as tx:
            for table in schema.metadata.sorted_tables:
                tx.execute(sa.delete(table))
        self.world = World(self.store, self.dataset)
        self.jobs: list[str] = []
        self.workers = 0

    @rule(alias=st.sampled_from([None, "live"]), lag=st.sampled_from([0.0, 30.0]))
    @precondition(lambda self: len(self.jobs) < 3)
    def submit(self, alias: str | None, lag: float) -> None:
        self.world.provider.list_lag = lag
        self.jobs.append(self.world.submit(alias=alias))

    @rule(seconds=st.sampled_from([1.0, 6.0, 35.0, 75.0, 130.0, 185.0]))
    def wait(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule()
    def work(self) -> None:
        self.world.drain()

    @rule(label=st.sampled_from(LABELS))
    def die(self, label: str) -> None:
        self.workers += 1
        with suppress(Crash):
            self.world.make_worker(f"dies-{self.workers}", crash_at(label)).drain()

    @rule(label=st.sampled_from(LABELS))
    def freeze(self, label: str) -> None:
        """A worker stands still past its lease while another one works."""
        self.workers += 1
        frozen: list[str] = []
        # Trouble while it takes back its second job is a test of its own.
        self.world.provider.faults.clear()

        def reach(at: str) -> None:
            if at == label and not frozen:
                frozen.append(at)
                self.world.clock.advance(185)
                self.world.drain()

        self.world.make_worker(f"frozen-{self.workers}", reach).drain()

    @rule(error=st.sampled_from(FREE), creates_only=st.booleans())
    def trouble(self, error: Exception, creates_only: bool) -> None:
        if len(self.world.provider.faults) < 2:
            self.world.provider.fail(error, creates_only=creates_only)

    @rule(error=st.sampled_from(LATE), creates_only=st.booleans())
    def late_trouble(self, error: Exception, creates_only: bool) -> None:
        if len(self.world.provider.faults) < 2:
            self.world.provider.fail(error, creates_only=creates_only, after=True)

    @rule(command=st.sampled_from(COMMANDS), number=st.integers(0, 2))
    def ask(self, command: Callable[..., object], number: int) -> None:
        if number < len(self.jobs):
            with suppress(ConfigError, IllegalTransition):
                command(self.world.engine, self.jobs[number])

    @invariant()
    def one_remote_job_each(self) -> None:
        provider = self.world.provider
        live = set(provider.live_jobs())
        keys = Counter(
            job.body["metadata"]["key"] for job in provider.jobs.values() if job.id in live
        )
        assert all(count == 1 for count in keys.values()), keys

    @invariant()
    def the_budget_adds_up(self) -> None:
        (budget,) = self.world.rows(schema.budgets)
        lines = self.world.rows(schema.ledger)
        assert budget["reserved_nanos"] == sum(line["reserved_nanos"] for line in lines)
        assert budget["spent_nanos"] == sum(line["spent_nanos"] for line in lines)

    @invariant()
    def histories_replay(self) -> None:
        for job in self.jobs:
            state, succeeded = "created", False
            for event in self.world.history(job):
                assert event.from_state == state
                state = event.to_state
                assert not (succeeded and state in {"failed", "cancelled", "cancelling"})
                succeeded = succeeded or event.event == "remote_succeeded"
            assert state == self.world.state(job)

    def teardown(self) -> None:
        """When the faults stop, every job comes to an end and the money is all accounted for."""
        self.world.provider.faults.clear()
        ended = {state.value for state in TERMINAL}
        for _ in range(200):
            states = {job: self.world.state(job) for job in self.jobs}
            if set(states.values()) <= ended:
                break
            for job, state in states.items():
                if state == "needs_attention":
                    commands.retry(self.world.engine, job)
                elif state == "paused":
                    commands.resume(self.world.engine, job)
            self.world.drain()
            self.world.step_to_next()
        for job in self.jobs:
            assert self.world.state(job) in ended, self.world.events(job)
        self.one_remote_job_each()
        assert self.world.reserved() == 0
        twice = self.world.provider.bill_nanos - self.world.spent()
        listed = [*self.world.rows(schema.repaid), *self.world.rows(schema.asked)]
        assert 0 <= twice <= sum(row["at_most_nanos"] for row in listed)


@pytest.mark.timeout(300)
def test_whatever_happens(store: Store, dataset: Dataset) -> None:
    class Here(Life):
        pass

    Here.store, Here.dataset = store, dataset
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=4 if store.postgres else 14,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # A failure is told by the steps as they were: shrinking takes minutes.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
