"""Reads a cache until it is told to stop, and says what it saw. Run as a process."""

from __future__ import annotations

import sys

from understudy.cache import open_cache
from understudy.testing.cache_rows import CACHE, key


def main(url: str, keys: int) -> None:
    """Read ``keys`` keys together until a line comes on stdin; print reads, mixed, failed."""
    import threading

    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    wanted = [key(number) for number in range(keys)]
    reads = mixed = failed = 0
    with open_cache(url) as store:  # type: ignore[attr-defined]
        store.get_many(CACHE, wanted)
        print("reading", flush=True)
        while not ended.is_set():
            try:
                found = store.get_many(CACHE, wanted)
            except Exception as error:  # noqa: BLE001 - any failed read counts
                print(repr(error), file=sys.stderr)
                failed += 1
                continue
            reads += 1
            generations = {text.split(b'"')[3] for text in found.values()}
            mixed += len(generations) != 1 or len(found) != keys
    print(reads, mixed, failed)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
