"""kill -9 in the middle of a pull, then again from where it stood: none lost, none twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from langfuse_kit import PUBLIC_KEY, Landing, root, seed
from understudy_sandbox.launch import Sandbox


def pull(sandbox: Sandbox, environment: str, path: Path, size: int, pages: int | None) -> bool:
    """Pull in a process of its own; kill it after so many pages. Whether it came to the end."""
    command = [sys.executable, str(Path(__file__).parent / "pull_child.py"), sandbox.api_key]
    command += [root(sandbox), environment, str(path), str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number, _ in enumerate(process.stdout, 1):
            if number == pages:
                process.kill()
                break
    assert process.returncode in {0, -9}
    return process.returncode == 0


def told(sandbox: Sandbox) -> int:
    """How often the server was asked for a page."""
    return int(sandbox.state()["requests"].get("langfuse.observations.list", 0))


def check(landing: Landing, first: int, count: int) -> None:
    found = [call["messages"][0]["content"] for call in landing.calls()]
    assert len(found) == len(set(found)) == count
    assert set(found) == {f"q{number}" for number in range(first, first + count)}


def test_a_killed_pull_goes_on_where_it_stood(sandbox, environment, first, tmp_path) -> None:
    seed(sandbox, range(first, first + 120), **{"langfuse.environment": environment})
    path = tmp_path / "landed.jsonl"
    before = told(sandbox)
    assert not pull(sandbox, environment, path, 10, pages=3)
    assert not pull(sandbox, environment, path, 10, pages=4)
    while_out = [first + 120, first + 121]  # what arrives meanwhile belongs to the next run
    seed(sandbox, while_out, **{"langfuse.environment": environment})
    assert pull(sandbox, environment, path, 10, pages=None)
    check(Landing(path), first, 120)
    # At most the page that was being stored is asked for again.
    assert told(sandbox) - before <= 12 + 2 * 2


def test_killed_while_a_page_is_on_its_way(sandbox, environment, first, tmp_path) -> None:
    seed(sandbox, range(first, first + 30), **{"langfuse.environment": environment})
    path = tmp_path / "landed.jsonl"
    sandbox.faults({"on": "langfuse.observations.list", "do": "hold_after", "after": 1})
    command = [sys.executable, str(Path(__file__).parent / "pull_child.py"), sandbox.api_key]
    command += [root(sandbox), environment, str(path), "10"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "10\n"
        process.kill()
    sandbox.release()
    sandbox.faults()
    assert pull(sandbox, environment, path, 10, pages=None)
    check(Landing(path), first, 30)


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_fifty_thousand_observations_through_twenty_kills(tmp_path) -> None:
    """Acceptance line 4 at full size, with faults on and scores."""
    count, size = 50_000, 500
    rng = random.Random(4)
    with Sandbox(tmp_path / "sandbox") as sandbox:
        began = time.perf_counter()
        for start in range(0, count, 1000):
            seed(sandbox, range(start, start + 1000), **{"langfuse.environment": "full"})
            scored = [
                {"traceId": f"{n:032x}", "name": "right", "value": n % 2, "id": f"s{n}"}
                for n in range(start, start + 1000, 10)
            ]
            reply = httpx.post(
                f"{root(sandbox)}/api/public/scores",
                json=scored,
                auth=(PUBLIC_KEY, sandbox.api_key),
                timeout=60,
            )
            assert reply.status_code == 202
        written = time.perf_counter() - began
        busy = {"do": "error", "on": "langfuse.*.list", "status": 429, "retry_after": 0.2}
        sandbox.faults(
            *(
                {**busy, "on": "langfuse.*.list", "after": n, "times": 1}
                for n in range(50, 900, 90)
            ),
            {"on": "langfuse.observations.list", "do": "truncate", "after": 40, "times": 2},
            {"on": "langfuse.observations.list", "do": "error", "status": 502, "after": 70},
        )
        path, kills = tmp_path / "landed.jsonl", 0
        began = time.perf_counter()
        while kills < 20:
            assert not pull(sandbox, "full", path, size, pages=rng.randint(1, 5))
            kills += 1
        assert pull(sandbox, "full", path, size, pages=None)
        pulled = time.perf_counter() - began
        landing = Landing(path)
        check(landing, 0, count)
        scored_calls = sum("scores" in call for call in landing.calls())
        assert scored_calls == count // 10
        print(  # noqa: T201 - the figures of the acceptance
            f"{count} observations written in {written:.1f} s, pulled through {kills} kills in "
            f"{pulled:.1f} s, {told(sandbox)} pages asked for, {scored_calls} calls with scores"
        )
