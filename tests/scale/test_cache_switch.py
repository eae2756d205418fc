"""The switch of a generation under load, with readers in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from understudy.cache import open_cache
from understudy.testing.cache_rows import CACHE, MODEL, key, rows

READER = str(Path(__file__).with_name("cache_reader.py"))
READERS, KEYS = 4, 500


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'cache'}"
    return str(request.getfixturevalue("postgres").empty())


@pytest.mark.prove
@pytest.mark.timeout(600)
@pytest.mark.parametrize("switches", [200])
def test_no_read_is_mixed_and_none_fails(url, switches):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with open_cache(url) as store:
        publish(store, "g0")
        readers = [
            subprocess.Popen([sys.executable, READER, url, str(KEYS)], text=True, **pipes)
            for _ in range(READERS)
        ]
        assert [reader.stdout.readline() for reader in readers] == ["reading\n"] * READERS
        for number in range(1, switches + 1):
            publish(store, f"g{number}")
            if number % 10 == 0:
                store.rollback(CACHE)
                store.rollback(CACHE, f"g{number}")
            store.prune(CACHE, keep=2)
        said = [reader.communicate("stop\n") for reader in readers]
        last = store.get_many(CACHE, [key(number) for number in range(KEYS)])
    found = [tuple(map(int, out.split())) for out, _ in said]
    assert [each[1:] for each in found] == [(0, 0)] * READERS, [error for _, error in said]
    reads = sum(each[0] for each in found)
    print(f"\n{switches} generations published, {reads:,} reads of {KEYS} keys, 0 mixed, 0 failed")
    assert reads > switches
    assert dict(last) == dict(rows(f"g{switches}", *range(KEYS)))


def publish(store, generation):
    with store.writer(CACHE, generation, model=MODEL) as writer:
        writer.put(rows(generation, *range(KEYS)))
        writer.publish()
