"""A caller that can be killed: ``python caller.py HOME SPEC_JSON KEY`` sees a job to its end."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from local_kit import make_backend
from understudy.model import Found, JobSpec, Rows

if __name__ == "__main__":
    home, told, key = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    spec = JobSpec(**{**told, "training": Rows(**told["training"])})
    backend = make_backend(home, max_restarts=20)
    found = backend.find(key, None)
    if isinstance(found, Found):
        handle = found.handle
    else:
        handle = backend.create(spec, backend.upload(spec, key=key), key=key)
    while not (status := backend.poll(handle)).state.terminal:
        time.sleep(0.02)
    sys.stdout.write(status.raw)
