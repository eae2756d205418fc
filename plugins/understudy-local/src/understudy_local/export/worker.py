"""``python -m understudy_local.export.worker FOLDER``: the process of one export."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from understudy_local.artifacts import Home
from understudy_local.export.making import Making
from understudy_local.export.order import read_order
from understudy_local.work import Work, carry_out
from understudy_local.worker.turns import Turn

__all__ = ["main"]


def _export(work: Work) -> None:
    order = read_order(work)
    turn = Turn(
        Home(order.settings.home).slots,
        job=work.id,
        created_at=order.created_at,
        # One at a time: each holds a whole model in memory.
        slots=("export",),
    )
    work.tell(doing="waiting for another export")

    def pause() -> bool:
        time.sleep(order.settings.poll_interval)
        return True

    turn.wait(pause)
    with turn.held():
        Making(work).run()


def main(folder: Path) -> None:
    """Carry the export in ``folder`` to its end."""
    carry_out(Work(folder), _export)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
