"""``python -m understudy_local.worker JOB_FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from understudy_local.artifacts import JobFolder
from understudy_local.worker.supervise import Worker

if __name__ == "__main__":
    Worker(JobFolder(Path(sys.argv[1]))).run()
