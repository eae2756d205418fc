"""Codec, values, requests, names, and what only the embedded store does."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.cache import (
    CacheOptions,
    Refusal,
    key_of,
    open_cache,
    pack_refusal,
    pack_reply,
    unpack,
)
from understudy.cache.codec import Codec, learn
from understudy.cache.requests import key_in, key_of_request, request_of
from understudy.cache.sqlite import SqliteCache
from understudy.errors import ConfigError, DataError
from understudy.fingerprint import fingerprint
from understudy.model import ChatReply, ChatRequest, Usage
from understudy.testing.cache_rows import CACHE, MODEL, key, rows, value

LIKE = [b'{"content":"intent_%d","model":"ft:one-and-the-same"}' % (n % 90) for n in range(2000)]
LEARNT = learn(LIKE)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300) | st.sampled_from(LIKE))
def test_what_is_packed_comes_back(data):
    for codec in (Codec(), Codec(LEARNT)):
        assert codec.unpack(codec.packer()(data)) == data
        assert len(codec.packer()(data)) <= len(data) + 1


def test_a_dictionary_is_kept_only_where_it_pays():
    assert LEARNT
    packed = sum(len(Codec(LEARNT).packer()(each)) for each in LIKE)
    assert packed < 0.5 * sum(map(len, LIKE))
    import random

    noise = [random.Random(number).randbytes(80) for number in range(1500)]
    assert learn(noise) == b""
    assert learn(LIKE[:500]) == b"", "too few"


def test_a_codec_is_shared_by_threads():
    codec, wrong = Codec(LEARNT), []
    packed = [(each, codec.packer()(each)) for each in LIKE]

    def work():
        wrong.extend(each for each, stored in packed if codec.unpack(stored) != each)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("counted", [True, False])
def test_a_reply_and_a_refusal_come_back(counted):
    reply = ChatReply(
        message={"role": "assistant", "content": "a", "tool_calls": [{"id": "1"}]},
        finish_reason=None,
        usage=Usage(input=1, output=2, cached=1),
        model="m",
        usage_counted_here=counted,
    )
    assert unpack(pack_reply(reply)) == reply
    assert unpack(pack_refusal(Refusal(reason="no", code="c"))) == Refusal(reason="no", code="c")


@pytest.mark.parametrize("stored", [b"", b"[]", b"7", b'{"message":{}}', b'{"refused":3}'])
def test_a_value_that_is_neither_is_an_error(stored):
    with pytest.raises(DataError, match="not a reply"):
        unpack(stored)


def test_a_key_is_the_hash_of_the_fingerprint(tmp_path):
    asked = ChatRequest(model="x", messages=({"role": "user", "content": "hi"},))
    expected = key_of(fingerprint(asked, model_version=MODEL))
    assert key_of_request(asked, model_version=MODEL) == expected
    with pytest.raises(DataError, match="no fingerprint"):
        key_of("u1:abc")
    with open_cache(tmp_path / "c") as store:
        assert key_in(store, CACHE, asked, MODEL) == expected
        with pytest.raises(ConfigError, match="--model"):
            key_in(store, CACHE, asked, None)


def test_a_body_is_a_request():
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 0}
    made = request_of(body)
    assert (made.model, made.sampling, made.tools) == ("m", {"temperature": 0}, ())
    for wrong, told in (([], "JSON object"), ({}, r"\[messages\]"), ({"messages": []}, "message")):
        with pytest.raises(DataError, match=told):
            request_of(wrong)


def fill(store, generation, *numbers):
    with store.writer(CACHE, generation, model=MODEL) as writer:
        writer.put(rows(generation, *numbers))
        return writer.publish()


def test_a_reader_may_go_on_with_what_it_knows_for_a_moment(tmp_path):
    with SqliteCache(tmp_path, CacheOptions(fresh_for=3600)) as patient, SqliteCache(tmp_path) as w:
        fill(w, "g1", 1)
        assert patient.get(CACHE, key(1)) == value("g1", 1)
        fill(w, "g2", 1)
        assert patient.get(CACHE, key(1)) == value("g1", 1), "whole, if not the newest"


def test_a_generation_whose_file_is_gone_says_what_to_do(tmp_path):
    with SqliteCache(tmp_path) as store:
        fill(store, "g1", 1)
        (tmp_path / CACHE / "g1.db").unlink()
    with SqliteCache(tmp_path) as store, pytest.raises(DataError, match="cache rollback") as caught:
        store.get(CACHE, key(1))
    assert caught.value.file == str(tmp_path / CACHE / "g1.db")


def test_reading_makes_nothing(tmp_path):
    with SqliteCache(tmp_path / "none") as store:
        assert store.get(CACHE, key(1)) is None
        assert store.caches() == []
        assert store.stats(CACHE).current is None
        assert store.prune(CACHE) == []
    assert not (tmp_path / "none").exists()


def test_each_thread_reads_with_its_own_files_and_gives_them_back(tmp_path):
    with SqliteCache(tmp_path) as store:
        fill(store, "g1", 1)
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(store.get(CACHE, key(1))))
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [value("g1", 1)] * 5
        assert len(store._readers) == 0, "their threads have ended"
