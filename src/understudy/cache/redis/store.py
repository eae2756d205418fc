"""The store on Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from redis import Redis

from understudy.cache.base import (
    CacheStats,
    CacheView,
    Generation,
    GenerationState,
    GenerationSwitched,
    Row,
    TailRow,
    check_name,
)
from understudy.cache.codec import Codec
from understudy.cache.options import CacheOptions
from understudy.cache.redis import scripts
from understudy.cache.redis.keys import CACHES, Keys, read_tail_row, tail_row
from understudy.cache.redis.records import codec_of, fields_of, reaching, record_of
from understudy.cache.redis.writer import RedisWriter
from understudy.cache.shared import (
    NO_GENERATION,
    StoreBase,
    find_generation,
    pick_previous,
    pick_pruned,
    require_model,
)
from understudy.config import shown_url
from understudy.errors import ConfigError
from understudy.model import Json

__all__ = ["RedisCache", "open_redis"]

_AT_ONCE = 1_000
_TIMEOUT = 5.0
"""Seconds for one answer of Redis."""


def open_redis(url: str, options: CacheOptions) -> RedisCache:
    """The store behind ``redis://``, ``rediss://`` or ``unix://``."""
    try:
        client = Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
    except ValueError as error:
        raise ConfigError(
            f"{shown_url(url)}: this is no URL of a Redis ({error}); write "
            "redis://[:password@]host:port/number"
        ) from None
    return RedisCache(client, options, shown=shown_url(url))


class _Pinned:
    """A view: reads one generation, as long as it is the current one."""

    def __init__(self, store: RedisCache, generation: Generation, codec: Codec) -> None:
        self.generation: Generation | None = generation
        self._id = generation.id
        self._store = store
        self._keys = Keys(generation.cache)
        self._unpack = codec.unpack

    def get(self, key: bytes) -> bytes | None:
        """See ``CacheView.get``."""
        (value,) = self._read([key])
        return None if value is None else self._unpack(value)

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See ``CacheView.get_many``."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            values = zip(part, self._read(part), strict=True)
            found |= {key: self._unpack(value) for key, value in values if value is not None}
        return found

    def _read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        # The pointer and the values are read in one step, so a switch cannot come in between.
        buckets = [self._keys.bucket(self._id, key) for key in keys]
        with reaching(self._store.shown):
            found = self._store.read(keys=[self._keys.pointer, *buckets], args=[self._id, *keys])
        if found is None:
            self._store.forget(self._keys)
            raise GenerationSwitched
        return [*found, *([None] * (len(keys) - len(found)))]


class RedisCache(StoreBase):
    """See ``CacheStore``.

    Args:
        client: connections to Redis, shared by threads.
        options: clock, compression and limits.
        shown: where it is, without password.
    """

    def __init__(self, client: Any, options: CacheOptions, *, shown: str) -> None:
        self.options = options
        self.read = client.register_script(scripts.READ)
        self._redis = client  # Any: its types leave open whether replies are bytes or text
        self._shown = shown
        self._views: dict[str, _Pinned] = {}

    @property
    def shown(self) -> str:
        """See ``CacheStore.shown``."""
        return self._shown

    def caches(self) -> Sequence[str]:
        """See ``CacheStore.caches``."""
        with reaching(self._shown):
            return sorted(name.decode() for name in self._redis.smembers(CACHES))

    def view(self, cache: str) -> CacheView:
        """See ``CacheStore.view``."""
        keys = Keys(cache)
        view = self._views.get(keys.pointer) or self._look(cache, keys)
        if view is None or view.generation is None:
            return NO_GENERATION
        expires_at = view.generation.expires_at
        if expires_at is not None and self.options.clock.now() >= expires_at:
            # Nothing is read from it, so nothing would notice that another one counts by now.
            self.forget(keys)
            return NO_GENERATION
        return view

    def forget(self, keys: Keys) -> None:
        """Look for the current generation at the next read."""
        self._views.pop(keys.pointer, None)

    def _look(self, cache: str, keys: Keys) -> _Pinned | None:
        while True:
            with reaching(self._shown):
                current = self._redis.get(keys.pointer)
                if current is None:
                    return None
                fields = self._redis.hgetall(keys.record(current.decode()))
            found = record_of(cache, current.decode(), fields, current)
            if found is not None:
                made = self._views[keys.pointer] = _Pinned(self, found, codec_of(fields))
                return made

    def tail_values(
        self, cache: str, keys: Sequence[bytes], *, refusals: bool
    ) -> Mapping[bytes, bytes]:
        """See ``StoreBase.tail_values``."""
        with reaching(self._shown):
            values = self._redis.hmget(Keys(cache).tail, list(keys)) if keys else []
        now = self.options.clock.now()
        rows = [
            read_tail_row(k, v, now) for k, v in zip(keys, values, strict=True) if v is not None
        ]
        return {row.key: row.value for row in rows if row and (row.carried or refusals)}

    def put_tail(self, cache: str, rows: Sequence[TailRow]) -> None:
        """See ``CacheStore.put_tail``."""
        self._enter(cache)
        limit = self.options.max_tail_bytes
        fields = [field for row in rows for field in (row.key, tail_row(row))]
        self._run(
            scripts.PUT_TAIL, Keys(cache).tail_keys, [-1 if limit is None else limit, *fields]
        )

    def writer(
        self,
        cache: str,
        generation: str,
        *,
        model: str,
        ttl: float | None = None,
        meta: Mapping[str, Json] | None = None,
    ) -> RedisWriter:
        """See ``CacheStore.writer``."""
        self._enter(cache)
        keys = Keys(cache)
        made = Generation(
            cache=cache,
            id=check_name(generation, "generation"),
            model=model,
            state=GenerationState.WRITING,
            current=False,
            created_at=self.options.clock.now(),
            meta=meta or {},
        )
        with reaching(self._shown):
            base = (self._redis.get(keys.pointer) or b"").decode()
            fields = fields_of(made, ttl=ttl, base=base)
            self._run(
                scripts.BEGIN,
                (keys.record(generation), keys.generations),
                [generation, made.created_at, *(part for pair in fields.items() for part in pair)],
            )
        found = next(g for g in self.generations(cache) if g.id == generation)
        require_model(found, model)
        return RedisWriter(self, self._redis, found, self.options, self._shown)

    def generations(self, cache: str) -> Sequence[Generation]:
        """See ``CacheStore.generations``."""
        keys = Keys(check_name(cache, "cache"))
        with reaching(self._shown):
            names = [name.decode() for name in self._redis.zrevrange(keys.generations, 0, -1)]
            with self._redis.pipeline() as pipe:
                pipe.get(keys.pointer)
                for name in names:
                    pipe.hgetall(keys.record(name))
                current, *records = pipe.execute()
        found = [
            record_of(cache, name, fields, current)
            for name, fields in zip(names, records, strict=True)
        ]
        return [generation for generation in found if generation is not None]

    def scan(self, cache: str, generation: str | None = None) -> Iterator[Row]:
        """See ``CacheStore.scan``. In no order."""
        found = find_generation(cache, self.generations(cache), generation)
        keys = Keys(cache)
        with reaching(self._shown):
            unpack = codec_of(self._redis.hgetall(keys.record(found.id))).unpack
        for bucket in keys.buckets(found.id):
            with reaching(self._shown):
                rows = self._redis.hgetall(bucket)
            for key, value in sorted(rows.items()):
                yield key, unpack(value)

    def scan_tail(self, cache: str) -> Iterator[TailRow]:
        """See ``CacheStore.scan_tail``."""
        now = self.options.clock.now()
        with reaching(self._shown):
            for key, data in self._redis.hscan_iter(Keys(cache).tail, count=_AT_ONCE):
                if (row := read_tail_row(key, data, now)) is not None:
                    yield row

    def rollback(self, cache: str, to: str | None = None) -> Generation:
        """See ``CacheStore.rollback``."""
        keys = Keys(cache)
        while True:
            chosen = pick_previous(cache, self.generations(cache), to)
            # Pruned since it was chosen: then there is another one, or none.
            if self._run(scripts.POINT, (keys.record(chosen.id), keys.pointer), [chosen.id]):
                return next(g for g in self.generations(cache) if g.id == chosen.id)

    def prune(self, cache: str, *, keep: int = 2) -> Sequence[Generation]:
        """See ``CacheStore.prune``."""
        keys = Keys(cache)
        kept, dropping = pick_pruned(self.generations(cache), keep)
        gone = [
            generation
            for generation in dropping
            if self._run(
                scripts.DROP,
                (keys.record(generation.id), keys.pointer, keys.generations),
                [generation.id],
            )
        ]
        useless = iter([*self._expired(keys), *self.useless_tail(cache, kept)])
        while part := list(islice(useless, _AT_ONCE)):
            self._run(scripts.REMOVE_TAIL, keys.tail_keys, part)
        return gone

    def _expired(self, keys: Keys) -> list[bytes]:
        now = self.options.clock.now()
        with reaching(self._shown):
            rows = self._redis.hscan_iter(keys.tail, count=_AT_ONCE)
            return [key for key, data in rows if read_tail_row(key, data, now) is None]

    def add_counts(self, cache: str, counts: Mapping[str, int]) -> None:
        """See ``CacheStore.add_counts``."""
        self._enter(cache)
        with reaching(self._shown), self._redis.pipeline() as pipe:
            for name, value in counts.items():
                pipe.hincrby(Keys(cache).counts, name, value)
            pipe.execute()

    def stats(self, cache: str) -> CacheStats:
        """See ``CacheStore.stats``."""
        keys = Keys(cache)
        found = self.generations(cache)
        with reaching(self._shown):
            tail, _, size = keys.tail_keys
            entries, weight = self._redis.hlen(tail), int(self._redis.get(size) or 0)
            counts = self._redis.hgetall(keys.counts)
        return CacheStats(
            cache=cache,
            store=self._shown,
            current=next((g for g in found if g.current), None),
            generations=len(found),
            tail_entries=entries,
            tail_bytes=weight,
            disk_bytes=None,
            counts={name.decode(): int(value) for name, value in counts.items()},
        )

    def values_in(
        self, cache: str, generation: Generation, keys: Sequence[bytes]
    ) -> Mapping[bytes, bytes]:
        """See ``StoreBase.values_in``."""
        names = Keys(cache)
        with reaching(self._shown), self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(names.record(generation.id))
            for key in keys:
                pipe.hget(names.bucket(generation.id, key), key)
            fields, *values = pipe.execute()
        unpack = codec_of(fields).unpack
        return {k: unpack(v) for k, v in zip(keys, values, strict=True) if v is not None}

    def close(self) -> None:
        """Give connections back."""
        self._redis.close()

    def _enter(self, cache: str) -> None:
        with reaching(self._shown):
            self._redis.sadd(CACHES, check_name(cache, "cache"))

    def _run(self, script: str, keys: Sequence[str], args: Sequence[object]) -> object:
        with reaching(self._shown):
            return self._redis.register_script(script)(keys=list(keys), args=list(args))
