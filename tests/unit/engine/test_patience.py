"""How soon a provider is asked again."""

from __future__ import annotations

from itertools import pairwise

from engine_kit import World

from understudy.model import NotYet
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError


def test_not_yet_is_obeyed_however_long_the_search_takes(world: World) -> None:
    job = world.submit()
    world.provider.fail(FakeConnectionError("cut"), creates_only=True, after=True)
    find, asked = world.backend.find, []

    def later(key: str, files: object) -> object:
        asked.append(world.clock.now())
        return NotYet(retry_after=60) if len(asked) < 6 else find(key, files)  # type: ignore[arg-type]

    world.backend.find = later  # type: ignore[method-assign,assignment]
    assert world.run_to(job) == "ready"
    assert [round(b - a) for a, b in pairwise(asked[:6])] == [60] * 5


def test_a_provider_that_says_at_once_is_not_asked_in_a_busy_loop(world: World) -> None:
    world.submit()
    for _ in range(20):
        world.provider.fail(FakeHTTPError(429, "slow down", retry_after=0.0))
    for _ in range(10):
        world.worker.once()
    assert world.provider.requests == 1
