"""How much traffic is covered by precomputing the most frequent queries, and what that costs.

Two figures for a head of so many keys: the share of the log that it covers, and the share of
traffic to come. The second is smaller, since some of that has never been seen. Good and Turing
(Good 1953) estimate the mass of what was never seen by the share of queries seen once (the
interval is Esty's, 1983), and of what was seen once by twice the share of those seen twice. What
was seen more often is taken down by one constant, which their tail sums fix (absolute
discounting: Ney, Essen and Kneser 1994); it fits traffic that follows Zipf's law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from math import exp, log, sqrt

from understudy.batch.frequencies import CountClass, QueryLog
from understudy.errors import ConfigError

__all__ = ["TARGETS", "Coverage", "Point", "Unseen", "unseen_mass"]

TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
"""Shares of the log that a table shows."""

CostOf = Callable[[int, int], Decimal]
"""US dollars for so many keys with so many tokens in their queries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unseen:
    """Share of the traffic to come that stands nowhere in the log, with its 95 % interval."""

    mass: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """The head of ``keys`` queries.

    ``of_log`` and ``to_come`` are shares of traffic, ``least`` is the lowest count in it, ``cost``
    what precomputing it takes in US dollars (None where no price was given).
    """

    keys: int
    of_log: float
    to_come: float
    least: int
    tokens: int
    cost: Decimal | None


class Coverage:
    """The curve of a counted log.

    Args:
        log: see ``tally``.
        cost: what keys cost, where a price is known.
    """

    def __init__(self, log: QueryLog, cost: CostOf | None = None) -> None:
        self.traffic = log.traffic
        self.distinct = log.distinct
        self.unseen = unseen_mass(log.classes, log.traffic)
        self._cost = cost
        self._steps = _steps(log.classes, log.traffic)

    def at_keys(self, keys: int) -> Point:
        """The head of ``keys`` queries; of all there are, where they are fewer."""
        keys = min(max(keys, 0), self.distinct)
        for before, step in pairwise(self._steps):
            if keys <= step.keys:
                return self._between(before, step, keys)
        raise AssertionError  # the last step holds every key

    def reaching(self, share: float, *, to_come: bool = False) -> Point:
        """The smallest head that covers ``share`` of the log, or of the traffic to come.

        Raises:
            ConfigError: no head does; says what can be reached.
        """
        most = self._steps[-1].to_come if to_come else 1.0
        if not 0 < share <= most:
            what = "of the traffic to come" if to_come else "of the log"
            raise ConfigError(
                f"{share:.2%} {what} cannot be covered: all {self.distinct:,} keys of the log "
                f"cover {most:.2%}; lower the target or take a longer log"
            )
        low, high = 1, self.distinct
        while low < high:
            middle = (low + high) // 2
            point = self.at_keys(middle)
            if (point.to_come if to_come else point.of_log) >= share:
                high = middle
            else:
                low = middle + 1
        return self.at_keys(low)

    def table(self, targets: Iterable[float] = TARGETS) -> list[Point]:
        """The smallest heads that cover these shares of the log."""
        return [self.reaching(share) for share in targets]

    def curve(self, points: int = 200) -> list[Point]:
        """Points for a plot, evenly apart in the logarithm of keys."""
        last = log(self.distinct)
        keys = {round(exp(last * place / max(points - 1, 1))) for place in range(points)}
        return [self.at_keys(number) for number in sorted(keys)]

    def _between(self, before: _Step, step: _Step, keys: int) -> Point:
        part = (keys - before.keys) / (step.keys - before.keys)
        tokens = round(before.tokens + part * (step.tokens - before.tokens))
        return Point(
            keys=keys,
            of_log=(before.traffic + (keys - before.keys) * step.count) / self.traffic,
            to_come=before.to_come + part * (step.to_come - before.to_come),
            least=step.count,
            tokens=tokens,
            cost=None if self._cost is None else self._cost(keys, tokens),
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """All keys that stand in the log at least ``count`` times."""

    count: int
    keys: int
    traffic: int
    to_come: float
    tokens: int


def unseen_mass(classes: Mapping[int, CountClass], traffic: int) -> Unseen:
    """Good and Turing's estimate. Of a log whose rare queries were cut off, it is too low."""
    once = classes[1].keys if 1 in classes else 0
    twice = classes[2].keys if 2 in classes else 0
    mass = once / traffic
    spread = 1.96 * sqrt(max(once + 2 * twice - once * once / traffic, 0.0)) / traffic
    return Unseen(mass=mass, low=max(mass - spread, 0.0), high=min(mass + spread, 1.0))


def _steps(classes: Mapping[int, CountClass], traffic: int) -> Sequence[_Step]:
    kept = _kept(classes)
    found = [_Step(0, 0, 0, 0.0, 0)]
    for count in sorted(classes, reverse=True):
        last, each = found[-1], classes[count]
        weight = count * each.keys
        found.append(
            _Step(
                count=count,
                keys=last.keys + each.keys,
                traffic=last.traffic + weight,
                to_come=last.to_come + kept(count) * weight / traffic,
                tokens=last.tokens + each.tokens,
            )
        )
    return found


def _kept(classes: Mapping[int, CountClass]) -> Callable[[int], float]:
    """Which part of a count's share of the log it keeps of the traffic to come."""
    once = classes[1].keys if 1 in classes else 0
    twice = classes[2].keys if 2 in classes else 0
    more = sum(each.keys for each in classes.values()) - once
    if not once:
        # Nothing was seen once: rare queries were cut off, and nothing can be said of them.
        return lambda _: 1.0
    # So that those seen at least twice keep what those seen at least three times have in the log.
    discount = 2 * twice / more if more else 0.0
    return lambda count: (count - discount) / count if count > 1 else 2 * twice / once
