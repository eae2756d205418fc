"""One of many worker processes: works until its standard input is closed.

The store, the clock and the provider come from the environment, as with `understudy worker`.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from understudy.config import load_config
from understudy.engine import Worker
from understudy.project import Project


def main() -> None:
    with Project(load_config(Path(sys.argv[1]))) as project:
        worker = Worker(project.engine(), concurrency=2)

        def wait_for_the_end() -> None:
            sys.stdin.read()
            worker.stop()

        threading.Thread(target=wait_for_the_end, daemon=True).start()
        worker.run()


if __name__ == "__main__":
    main()
