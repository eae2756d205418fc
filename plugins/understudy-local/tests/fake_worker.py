"""The worker with a trainer that trains nothing: run as ``python fake_worker.py JOB_FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from understudy_local.artifacts import JobFolder
from understudy_local.worker.child import Child
from understudy_local.worker.supervise import Worker

if __name__ == "__main__":
    Child.program = (str(Path(__file__).with_name("fake_trainer.py")),)
    Worker(JobFolder(Path(sys.argv[1]))).run()
