"""A worker process that freezes itself (SIGSTOP) at a labelled point, once.

python frozen_worker.py STORE-URL DATASET-FOLDER JOB LABEL
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "engine"))

from engine_kit import World

from understudy.data import load_dataset
from understudy.store import open_store


def main() -> None:
    url, dataset, job, label = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    world = World(open_store(url), load_dataset(Path(dataset)))
    left = [label]

    def reach(at: str) -> None:
        if at in left:
            left.clear()
            os.kill(os.getpid(), signal.SIGSTOP)

    world.worker = world.make_worker("frozen", reach)
    world.run_to(job)
    world.store.close()


if __name__ == "__main__":
    main()
