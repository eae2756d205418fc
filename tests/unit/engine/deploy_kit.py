"""A world whose provider deploys, for the tests of deployments."""

from __future__ import annotations

from typing import Any

from engine_kit import DeployingProvider, World

from understudy.engine import operations
from understudy.recipe import Deployment
from understudy.store import schema

__all__ = ["HOUR", "PRICE", "Place"]

HOUR = 3600
PRICE = 1_700_000_000
"""Of an hour of sku standard, in nano-dollars."""


class Place(World):
    """A world whose provider deploys."""

    @property
    def house(self) -> DeployingProvider:
        assert isinstance(self.provider, DeployingProvider)
        return self.provider

    def go(self, **changes: Any) -> str:
        sku = changes.pop("sku", "standard")
        hours = changes.pop("hours", 24)
        return self.submit(
            deployment=Deployment(evaluation_sku=sku, evaluation_hours=hours), **changes
        )

    def run_out(self, steps: int = 400) -> None:
        """Let everything that is due come to its end."""
        for _ in range(steps):
            self.drain()
            if not self.step_to_next(limit=40 * 24 * HOUR):
                return
        raise AssertionError(self.rows(schema.operations))

    def hosting(self) -> dict[str, int]:
        lines = [row for row in self.rows(schema.ledger) if row["kind"] == "hosting"]
        return {name: sum(row[name] for row in lines) for name in ("spent_nanos", "reserved_nanos")}

    def clean(self) -> None:
        """Nothing stands, nothing is reserved, nothing waits."""
        assert self.house.standing() == []
        assert self.reserved() == 0
        assert {row["state"] for row in self.deployed()} <= {"stopped"}
        assert operations.next_due(self.store) is None
