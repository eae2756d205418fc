"""kill -9 while a generation is written, sealed and switched: never half, never lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import cache_child
import pytest
from cache_child import NEVER, ROWS, SOURCES

from understudy.cache import GenerationState, open_cache
from understudy.testing.cache_rows import CACHE, MODEL, key, rows, value

CHILD = str(Path(cache_child.__file__))
WHOLE = dict(rows("g2", *range(SOURCES * ROWS)))
SQLITE, WRITER = "understudy.cache.sqlite", "understudy.cache.sqlite.writer"
SEALING = [
    f"{WRITER}:SqliteWriter._fill:after",
    f"{WRITER}:settle:after",
    f"{SQLITE}.index:Index.switch:before",
    f"{SQLITE}.index:Index.switch:after",
]
SWITCHING = {
    "redis": ["understudy.cache.redis.writer:RedisWriter._measure:after"],
    "postgresql": [
        "understudy.cache.postgres.writer:PostgresWriter._seal:after",
        "understudy.cache.postgres.writer:PostgresWriter._switch:after",
    ],
}


def killed(url: str, *, in_source: int | str = NEVER, at_point: str = NEVER) -> bool:
    command = [sys.executable, CHILD, url, str(in_source), at_point]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr or "it lived on"
    return True


def begin(url: str) -> None:
    """The generation before: it must be readable until the switch."""
    with open_cache(url) as store, store.writer(CACHE, "g1", model=MODEL) as writer:
        writer.put(rows("g1", 1))
        writer.publish()


def require_old_or_whole(url: str) -> None:
    with open_cache(url) as store:
        current = store.view(CACHE).generation
        assert current is not None
        if current.id == "g1":
            assert store.get(CACHE, key(1)) == value("g1", 1)
        else:
            assert dict(store.scan(CACHE)) == WHOLE


def test_killed_in_the_middle_of_a_put(cache_url):
    begin(cache_url)
    assert killed(cache_url, in_source=2)
    require_old_or_whole(cache_url)
    with open_cache(cache_url) as store, store.writer(CACHE, "g2", model=MODEL) as writer:
        assert writer.sources() == {"s0", "s1"}, "the one that was under way is not in"
    cache_child.main(cache_url, NEVER, NEVER)
    with open_cache(cache_url) as store:
        assert dict(store.scan(CACHE)) == WHOLE
        assert store.rollback(CACHE).id == "g1"


def publish_through(url: str, point: str) -> None:
    begin(url)
    assert killed(url, at_point=point)
    require_old_or_whole(url)
    cache_child.main(url, NEVER, NEVER)  # the next run ends what was begun
    with open_cache(url) as store:
        assert dict(store.scan(CACHE)) == WHOLE
        found = {g.id: (g.state, g.order) for g in store.generations(CACHE)}
        assert found == {"g1": (GenerationState.READY, 1), "g2": (GenerationState.READY, 2)}


@pytest.mark.parametrize("point", SEALING)
def test_killed_while_files_are_sealed_and_switched(tmp_path, point):
    publish_through(f"sqlite:///{tmp_path / 'cache'}", point)
    left = {path.name for path in (tmp_path / "cache" / CACHE).iterdir()}
    assert left <= {"g1.db", "g2.db", "index.db", "index.db-wal", "index.db-shm"}


@pytest.mark.parametrize("point", SWITCHING["redis"])
def test_killed_before_redis_switches(redis_url, point):
    publish_through(redis_url, point)


@pytest.mark.postgres
@pytest.mark.parametrize("point", SWITCHING["postgresql"])
def test_killed_while_postgresql_switches(postgres_url, point):
    publish_through(postgres_url, point)
