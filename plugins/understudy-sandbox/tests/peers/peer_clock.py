"""The sandbox's clock for the drivers: push it on, and look until something has a status."""

import json
import time
import urllib.request


def send(root, method, path, body, bearer):
    """One JSON request; the status of its reply."""
    request = urllib.request.Request(
        root + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {bearer}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        return reply.status


def clock_of(root, key):
    """Two functions: ``advance(seconds)`` and ``reach(look, wanted, step)``."""

    def advance(seconds):
        send(root, "POST", "/sandbox/clock", {"advance": seconds}, key)

    def reach(look, wanted, step):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = look()
            if found.status in wanted:
                return found
            advance(step)
        raise SystemExit(f"never {wanted}")

    return advance, reach
