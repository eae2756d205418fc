"""A Ray cluster of one, as long as its standard input stays open: ``python ray_head.py PORT``."""

from __future__ import annotations

import json
import sys

import ray

if __name__ == "__main__":
    context = ray.init(
        address="local",
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=int(sys.argv[1]),
        num_cpus=2,
        num_gpus=0,
        log_to_driver=False,
        configure_logging=False,
    )
    sys.stdout.write(json.dumps({"url": f"http://{context.dashboard_url}"}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    ray.shutdown()
