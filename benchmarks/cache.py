"""The cache: what filling, publishing and reading it costs, beside the bare store's own.

    python benchmarks/cache.py [KEYS ...]        # default 1,000,000

Reach: publish >= 150,000 rows/s; hits through `Cascade` p50 <= 3x the bare store's own get and
p99 <= 150 us; 0 mixed and 0 failed reads while generations are switched. Each size runs in a
process of its own, whose peak memory is what filling and publishing took. Values are replies of
about 280 bytes; what is read are real requests.
"""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from understudy.cache import CacheOptions, Cascade, pack_reply, unpack
from understudy.cache.sqlite import SqliteCache
from understudy.fingerprint import canonical
from understudy.model import ChatReply, ChatRequest

CACHE, MODEL = "queries", "intents@1"
SHARD = 50_000
READS = 50_000
SYSTEM = {"role": "system", "content": "Say what the query of a shop's search is after, as JSON."}
SAMPLING = {"temperature": 0, "max_tokens": 64}
_HEAD = struct.Struct("<32sH")
_REPLY = (
    '{"message":{"role":"assistant","content":"{\\"kind\\": \\"%s\\", \\"words\\": [\\"%s\\", '
    '\\"%s\\", \\"%s\\", \\"%s\\"], \\"sure\\": %.3f}"},"finish_reason":"stop",'
    '"usage":{"input":%d,"output":31,"cached":0},'
    '"model":"ft:gpt-4o-mini-2024-07-18:shop:queries:9Xb2kQ1c"}'
)
_KINDS = ("product", "brand", "place", "opening hours", "complaint", "price", "order", "recipe")


def request(number: int) -> ChatRequest:
    """The request number ``number``."""
    asked = {"role": "user", "content": f"query {number} for something near {number % 977}"}
    return ChatRequest(model="queries", messages=(SYSTEM, asked), sampling=SAMPLING)


def key(number: int) -> bytes:
    """Its key."""
    return sha256(canonical(request(number), model_version=MODEL)).digest()


def value(number: int, digest: bytes) -> bytes:
    """Its answer, about 280 bytes; ``check_form`` holds it to what ``pack_reply`` writes."""
    text = digest.hex()
    words = (_KINDS[number % len(_KINDS)], text[:8], text[8:16], text[16:24], text[24:32])
    return (_REPLY % (*words, digest[20] / 255, 37 + number % 9)).encode()


def check_form() -> None:
    """The template writes what the cache itself would."""
    made = value(1, key(1))
    held = unpack(made)
    assert isinstance(held, ChatReply)
    assert pack_reply(held) == made


def write_rows(path: Path, rows: int) -> None:
    """All rows in a flat file, in the order of their numbers: random in the order of keys.

    Those that are read later, every so many, have the keys of real requests. The others have
    hashes of their number, which is the same to a store and a tenth of the work here.
    """
    check_form()
    step = stride(rows)
    with path.open("wb", buffering=1 << 20) as file:
        for number in range(rows):
            digest = sha256(b"%d" % number).digest() if number % step else key(number)
            answer = value(number, digest)
            file.write(_HEAD.pack(digest, len(answer)) + answer)


def stride(rows: int) -> int:
    """How far apart the rows are that are read."""
    return max(rows // (2 * READS), 1)


def read_rows(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The rows of the flat file."""
    with path.open("rb", buffering=1 << 20) as file:
        read, size, unpack = file.read, _HEAD.size, _HEAD.unpack
        while head := read(size):
            digest, length = unpack(head)
            yield digest, read(length)


def shards(path: Path) -> Iterator[Iterator[tuple[bytes, bytes]]]:
    """The same in parts, as batches come in."""
    from itertools import chain, islice

    rows = read_rows(path)
    for first in rows:
        yield chain([first], islice(rows, SHARD - 1))


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the wall and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def copy_plainly(path: Path, to: Path) -> None:
    """What parsing and writing the same bytes costs, and nothing else."""
    with to.open("wb", buffering=1 << 20) as file:
        for digest, answer in read_rows(path):
            file.write(_HEAD.pack(digest, len(answer)) + answer)


def line(*cells: object) -> None:
    """One row of a table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def latencies(ask: Callable[[Any], object], asked: Sequence[Any]) -> tuple[float, float]:
    """p50 and p99 in microseconds."""
    now, taken = time.perf_counter_ns, []
    for one in asked:
        started = now()
        ask(one)
        taken.append(now() - started)
    taken.sort()
    return statistics.median(taken) / 1000, taken[len(taken) * 99 // 100] / 1000


def fill(store: SqliteCache, path: Path, rows: int) -> None:
    """Fill and publish a generation; print what it took."""
    plain, plain_cpu = timed(lambda: copy_plainly(path, path.with_suffix(".copy")))
    path.with_suffix(".copy").unlink()
    writer = store.writer(CACHE, "g1", model=MODEL)

    def put() -> None:
        for number, shard in enumerate(shards(path)):
            writer.put(shard, source=f"batch-{number}")

    steps = {"plain copy of the bytes": (plain, plain_cpu), "put, shards of 50,000": timed(put)}
    steps["publish"] = timed(writer.publish)
    writer.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line("step", "rows/s", "rows/s of CPU", "x plain")
    line("---", "---", "---", "---")
    for name, (wall, cpu) in steps.items():
        line(name, f"{rows / wall:,.0f}", f"{rows / cpu:,.0f}", f"{wall / plain:.1f}")
    stats = store.stats(CACHE)
    assert stats.current is not None
    assert stats.current.entries == rows
    print(
        f"\nPeak memory {peak:.0f} MiB; {(stats.disk_bytes or 0) / 1e9:.2f} GB on disk "
        f"({(stats.disk_bytes or 0) / rows:.0f} bytes a row, of {path.stat().st_size / rows:.0f} "
        f"with its key; {stats.current.codec}).\n"
    )


def read(store: SqliteCache, rows: int) -> None:
    """Print how long reads take: the bare store's, ours, and the whole cascade's."""
    chosen = random.Random(7)
    there = range(0, rows, stride(rows))
    numbers = [chosen.choice(there) for _ in range(2 * READS)]
    requests = [request(number) for number in numbers]
    keys = [key(number) for number in numbers]
    bare = sqlite3.connect(f"file:{store.root / CACHE / 'g1.db'}?mode=ro", uri=True)
    cascade = Cascade(store, CACHE)

    def get(one: bytes) -> object:
        return bare.execute("SELECT value FROM entries WHERE key = ?", (one,)).fetchone()

    def ask(one: ChatRequest) -> None:
        assert cascade.ask(one).source == "cache"

    ways: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
        "bare SQLite get": (get, keys),
        "CacheStore.get": (lambda one: store.get(CACHE, one), keys),
        "Cascade.ask (hashes the request, reads the reply)": (ask, requests),
    }
    for way, asked in ways.values():
        latencies(way, asked[READS:])  # the pages and the caches of all are warm
    line("hits", "p50 us", "p99 us", "p50 x bare", "8 threads: hits/s")
    line("---", "---", "---", "---", "---")
    floor = 0.0
    for name, (way, asked) in ways.items():
        p50, p99 = latencies(way, asked[:READS])
        floor = floor or p50
        together = "-" if way is get else f"{throughput(way, asked):,.0f}"
        line(name, f"{p50:.1f}", f"{p99:.1f}", f"{p50 / floor:.1f}", together)
    bare.close()


def throughput(ask: Callable[[Any], object], asked: Sequence[Any], threads: int = 8) -> float:
    """Reads a second of all threads together."""

    def work(part: int) -> None:
        for one in asked[part::threads]:
            ask(one)

    running = [threading.Thread(target=work, args=(part,)) for part in range(threads)]
    wall, _ = timed(lambda: [run(running, name) for name in ("start", "join")])
    return len(asked) / wall


def run(threads: list[threading.Thread], what: str) -> None:
    """Start or join all."""
    for thread in threads:
        getattr(thread, what)()


def switch_under_load(folder: Path, *, switches: int = 60, keys: int = 200) -> None:
    """Print what readers saw while generations were published, rolled back and pruned."""
    store = SqliteCache(folder, CacheOptions(fresh_for=0.0))
    wanted = [key(number) for number in range(keys)]

    def publish(generation: str) -> None:
        with store.writer(CACHE, generation, model=MODEL) as writer:
            writer.put([(one, generation.encode()) for one in wanted])
            writer.publish()

    publish("g0")
    reads, mixed, failed, ended = [0] * 8, [], [], threading.Event()

    def look(mine: int) -> None:
        while not ended.is_set():
            try:
                found = set(store.get_many(CACHE, wanted).values())
            except Exception as error:  # noqa: BLE001 - any failed read counts
                failed.append(repr(error))
            else:
                if len(found) != 1:
                    mixed.append(found)
                reads[mine] += 1

    readers = [threading.Thread(target=look, args=(mine,)) for mine in range(8)]
    run(readers, "start")
    for number in range(1, switches + 1):
        publish(f"g{number}")
        if number % 5 == 0:
            store.rollback(CACHE)
            store.rollback(CACHE, f"g{number}")
        store.prune(CACHE, keep=2)
    ended.set()
    run(readers, "join")
    store.close()
    line("switches", f"reads of {keys} keys, 8 threads", "mixed", "failed")
    line("---", "---", "---", "---")
    line(switches + 2 * (switches // 5), f"{sum(reads):,}", len(mixed), len(failed))


def one_size(rows: int) -> None:
    """Everything at one size."""
    folder = Path(tempfile.mkdtemp(prefix="understudy-bench-"))
    try:
        with closing(SqliteCache(folder / "cache")) as store:
            subprocess.run(
                [sys.executable, __file__, "write", str(rows), str(folder / "rows")], check=True
            )
            print(f"\n### {rows:,} keys\n")
            fill(store, folder / "rows", rows)
            read(store, rows)
    finally:
        shutil.rmtree(folder)


def stores(rows: int = 200_000) -> None:
    """Print the stores beside each other: choose the embedded one from this."""
    from cache_stores import compare

    compare([(one, value(number, one)) for number, one in enumerate(map(key, range(rows)))])


def main(arguments: list[str]) -> None:
    """Print all tables."""
    if arguments[:1] == ["write"]:
        write_rows(Path(arguments[2]), int(arguments[1]))
    elif arguments[:1] == ["size"]:
        one_size(int(arguments[1]))
    else:
        for rows in arguments or ["1000000"]:
            subprocess.run([sys.executable, __file__, "size", rows], check=True)
        print("\n### The switch under load\n")
        with tempfile.TemporaryDirectory() as folder:
            switch_under_load(Path(folder))
        print("\n### Stores, 200,000 keys\n")
        stores()


if __name__ == "__main__":
    main(sys.argv[1:])
