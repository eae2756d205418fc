"""Filling a generation in Redis: rows go to their place at once, under a name nobody reads yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from understudy.cache.base import Generation, GenerationState, Row
from understudy.cache.codec import Codec
from understudy.cache.options import CacheOptions
from understudy.cache.redis import scripts
from understudy.cache.redis.keys import Keys
from understudy.cache.redis.records import codec_of, reaching, record_of
from understudy.cache.shared import StoreBase, WriterBase, require_base
from understudy.errors import StaleRecord

__all__ = ["RedisWriter"]

_AT_ONCE = 1_000
_BYTES_AT_ONCE = 4 * 1024 * 1024
"""Redis serves nobody else while it takes a part in."""

_BUCKETS_AT_ONCE = 64


class RedisWriter(WriterBase):
    """See ``GenerationWriter``. Made by ``RedisCache.writer``."""

    def __init__(
        self,
        store: StoreBase,
        client: Any,
        generation: Generation,
        options: CacheOptions,
        shown: str,
    ) -> None:
        super().__init__(options)
        self._cache = store
        self._redis = client
        self._generation = generation
        self._shown = shown
        self._keys = Keys(generation.cache)
        self._record = self._keys.record(generation.id)

    @property
    def generation(self) -> Generation:
        """See ``GenerationWriter.generation``."""
        return self._generation

    def sources(self) -> frozenset[str]:
        """See ``GenerationWriter.sources``."""
        with reaching(self._shown):
            found = self._redis.smembers(self._keys.sources(self._generation.id))
        return frozenset(source.decode() for source in found)

    def count(self) -> int:
        """See ``GenerationWriter.count``."""
        with reaching(self._shown), self._redis.pipeline(transaction=False) as pipe:
            for bucket in self._keys.buckets(self._generation.id):
                pipe.hlen(bucket)
            return sum(pipe.execute())

    def publish(self, *, force: bool = False) -> Generation:
        """See ``GenerationWriter.publish``."""
        if self._refresh().order is None:
            entries, size = self._measure()
            keys = (self._record, self._keys.pointer, self._keys.publications)
            now = self._options.clock.now()
            said, current = self._run(
                scripts.SWITCH, keys, (self._generation.id, int(force), now, entries, size)
            )
            if said == b"stale":
                require_base(self._generation, current.decode() or None)
        return self._refresh()

    def abandon(self) -> None:
        """See ``GenerationWriter.abandon``."""
        with reaching(self._shown):
            if self._redis.hexists(self._record, "order"):
                raise StaleRecord(
                    f"generation {self._generation.id!r} of cache {self._generation.cache!r} is "
                    "published; roll back and prune instead of abandoning it"
                )
        keys = (self._record, self._keys.pointer, self._keys.generations)
        self._run(scripts.DROP, keys, (self._generation.id,))

    def close(self) -> None:
        """See ``GenerationWriter.close``. The connections are the store's."""

    def _store(self) -> StoreBase:
        return self._cache

    def _run(self, script: str, keys: Iterable[str], args: Iterable[Any]) -> Any:
        with reaching(self._shown):
            return self._redis.register_script(script)(keys=list(keys), args=list(args))

    def _fields(self) -> dict[bytes, bytes]:
        with reaching(self._shown):
            found: dict[bytes, bytes] = self._redis.hgetall(self._record)
            return found

    def _refresh(self) -> Generation:
        with reaching(self._shown):
            current = self._redis.get(self._keys.pointer)
        mine = self._generation
        found = record_of(mine.cache, mine.id, self._fields(), current)
        if found is None:
            self._require_writing(None)
        else:
            self._generation = found
        return self._generation

    def _codec(self) -> Codec | None:
        fields = self._fields()
        return codec_of(fields) if b"dictionary" in fields else None

    def _decide(self, dictionary: bytes) -> Codec:
        with reaching(self._shown):
            self._redis.hsetnx(self._record, "dictionary", dictionary)
        return codec_of(self._fields())

    def _write(self, rows: Iterable[Row], *, source: str | None, carried: bool) -> int:
        self._require_writing(self._refresh().state)
        put = self._putter("HSETNX" if carried else "HSET")
        written = 0
        for part in _parts(rows):
            put(part)
            written += len(part)
        if source is not None:
            # After the rows: killed before this, they are put again, which changes nothing.
            with reaching(self._shown):
                self._redis.sadd(self._keys.sources(self._generation.id), source)
        return written

    def _putter(self, command: str) -> Callable[[list[Row]], None]:
        script = self._redis.register_script(scripts.PUT)
        limit = self._options.max_generation_bytes

        def put(part: list[Row]) -> None:
            size = sum(len(value) for _, value in part)
            with reaching(self._shown):
                if limit is not None:
                    staged = int(self._redis.hget(self._record, "staged") or 0)
                    if over := self._over(staged + size):
                        raise over
                said = script(
                    keys=[self._record],
                    args=[command, size, *(field for row in part for field in row)],
                )
            if said != b"put":
                self._require_writing(GenerationState(said.decode()) if said else None)

        return put

    def _measure(self) -> tuple[int, int]:
        entries = size = 0
        script = self._redis.register_script(scripts.SIZE)
        buckets = self._keys.buckets(self._generation.id)
        # In parts, so that readers of other generations are not kept waiting.
        for start in range(0, len(buckets), _BUCKETS_AT_ONCE):
            with reaching(self._shown):
                some, weight = script(keys=buckets[start : start + _BUCKETS_AT_ONCE])
            entries, size = entries + some, size + weight
        return entries, size


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    size = 0
    for row in rows:
        part.append(row)
        size += len(row[1])
        if len(part) >= _AT_ONCE or size >= _BYTES_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part
