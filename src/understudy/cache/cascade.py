"""Cache, then student, then teacher: every answer says where it came from, why, and what it cost.

A hit touches the cache and nothing else. A miss asks live, once for all who want the same answer
at the same time, and keeps it in the tail, from where the next generation carries it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, NamedTuple, Self

from understudy.backend import Clock
from understudy.cache.base import CacheStore, CacheView, GenerationSwitched, TailRow
from understudy.cache.coalesce import Coalescer
from understudy.cache.counts import Counts
from understudy.cache.live import LiveModel, Trouble, refusal_in, trouble_of, with_usage
from understudy.cache.values import Refusal, pack_refusal, pack_reply, unpack
from understudy.clock import SystemClock
from understudy.errors import BackendError, ConfigError
from understudy.fingerprint import canonical, reusable
from understudy.model import ChatReply, ChatRequest
from understudy.secrets import redact

__all__ = ["Cascade", "CascadeResult", "CascadeRule", "Hop"]

_log = logging.getLogger("understudy.cache")
_FREE = Decimal(0)

Source = Literal["cache", "student", "teacher"]


class Hop(NamedTuple):
    """A rung that did not answer, and why. ``rung``: generation, tail, student or teacher."""

    rung: str
    reason: str


class CascadeResult(NamedTuple):
    """What became of a request.

    ``reply`` or, where the provider will not answer it, ``refusal``. ``generation`` is set where
    a generation answered. ``cost``: US dollars of the live calls made for it, rejected ones too;
    None where their price is not known. ``shared``: another caller's live call answered this
    request as well, and is counted there.
    """

    source: Source
    reply: ChatReply | None
    refusal: Refusal | None
    generation: str | None
    hops: tuple[Hop, ...]
    cost: Decimal | None
    shared: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CascadeRule:
    """What leads from the student to the teacher, and how long live answers are kept.

    Args:
        falls_through: the student's troubles that lead to the teacher. What it refused stays
            refused by default: a teacher at the same provider has the same filter.
        accept: looks at a student's answer while there is a teacher behind it; returns None, or
            why the answer will not do.
        answer_ttl: seconds for which a student's answer is kept in the tail; None for ever. It
            is carried into the next generation.
        teacher_ttl: the same for a teacher's answer, which is never carried: a generation holds
            answers of one model. It stands in until the student is back.
        refusal_ttl: the same for a refusal, which is never carried.
        reuse_sampled: keep and share answers to sampled requests too (``temperature`` not 0).
            What a generation holds is served in any case: somebody precomputed it on purpose.
    """

    falls_through: frozenset[Trouble] = frozenset(Trouble) - {Trouble.REFUSED}
    accept: Callable[[ChatRequest, ChatReply], str | None] | None = None
    answer_ttl: float | None = None
    teacher_ttl: float | None = 3600.0
    refusal_ttl: float | None = 3600.0
    reuse_sampled: bool = False


class _Missed(NamedTuple):
    key: bytes
    hop: Hop


class Cascade:
    """Answers requests; safe to use from many threads.

    Args:
        store: where the cache is.
        cache: its name.
        student: asked where the cache has nothing; may be absent.
        teacher: asked where the student fails by ``rule``; may be absent.
        model_version: whose answers are looked up; default: those of the current generation.
        rule: see ``CascadeRule``.
        clock: for times of expiry.
    """

    def __init__(
        self,
        store: CacheStore,
        cache: str,
        *,
        student: LiveModel | None = None,
        teacher: LiveModel | None = None,
        model_version: str | None = None,
        rule: CascadeRule | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        rungs: list[tuple[Source, LiveModel | None]] = [("student", student), ("teacher", teacher)]
        self._rungs = [(name, model) for name, model in rungs if model is not None]
        self._version = model_version
        self._rule = rule or CascadeRule()
        self._clock = clock or SystemClock()
        self._coalescer: Coalescer[bytes, CascadeResult] = Coalescer()
        self.counts = Counts(store, cache)

    def ask(self, request: ChatRequest) -> CascadeResult:
        """The answer.

        Raises:
            BackendError: nobody could answer; the last error, as it came.
            ConfigError: the cache has nothing and there is nobody to ask.
            DataError: the request has no canonical form.
        """
        found = self._look(request)
        if isinstance(found, CascadeResult):
            self.counts.hit()
            return found
        if not reusable(request, reuse_sampled=self._rule.reuse_sampled):
            hops = (found.hop, Hop("tail", "the request is sampled"))
            return self._ask_live(request, None, hops)
        result, shared = self._coalescer.run(found.key, lambda: self._miss(request, found))
        if not shared:
            return result
        self.counts.add("shared")
        return result._replace(cost=_FREE, shared=True)

    async def ask_async(self, request: ChatRequest) -> CascadeResult:
        """The same on a thread of the loop's executor; equal requests share one live call."""
        import asyncio  # slow to import, and most callers have threads

        return await asyncio.to_thread(self.ask, request)

    def close(self) -> None:
        """Bring the counters to the store. The store stays open."""
        self.counts.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(self, request: ChatRequest) -> CascadeResult | _Missed:
        """What the current generation says: key and value are of one generation."""
        while True:
            trouble = ""
            try:
                view: CacheView | None = self._store.view(self._cache)
            except Exception as error:  # noqa: BLE001 - no trouble of a cache may cost an answer
                view, trouble = None, _told("cache", error)
            generation = None if view is None else view.generation
            version = self._version or (generation.model if generation else self._stand_in())
            key = hashlib.sha256(canonical(request, model_version=version)).digest()
            if view is None or generation is None:
                return _Missed(key, Hop("generation", trouble or "there is none"))
            try:
                value = view.get(key)
                if value is None:
                    return _Missed(key, Hop("generation", _why_not(version, generation.model)))
                reply = unpack(value)
            except GenerationSwitched:
                continue
            except Exception as error:  # noqa: BLE001
                return _Missed(key, Hop("generation", _told("cache", error)))
            return _hit(reply, generation.id, ())

    def _stand_in(self) -> str | None:
        return self._rungs[0][1].model if self._rungs else None

    def _miss(self, request: ChatRequest, missed: _Missed) -> CascadeResult:
        # Looked up by the one who would ask, so a caller who comes just after another one's live
        # call finds its answer here.
        try:
            value = self._store.get_tail(self._cache, missed.key)
            if value is not None:
                self.counts.add("tail_hits")
                return _hit(unpack(value), None, (missed.hop,))
            hop = Hop("tail", "miss")
        except Exception as error:  # noqa: BLE001 - as above
            hop = Hop("tail", _told("cache", error))
        return self._ask_live(request, missed.key, (missed.hop, hop))

    def _ask_live(
        self, request: ChatRequest, key: bytes | None, hops: tuple[Hop, ...]
    ) -> CascadeResult:
        if not self._rungs:
            raise ConfigError(
                f"cache {self._cache!r} has no answer ({hops[0].reason}), and this cascade has "
                "neither a student nor a teacher to ask; give it one"
            )
        try:
            result = self._climb(request, hops)
            if key is not None:
                result = self._keep(key, result)
        finally:
            self.counts.flush()
        return result

    def _climb(self, request: ChatRequest, hops: tuple[Hop, ...]) -> CascadeResult:
        cost: Decimal | None = _FREE
        for place, (name, model) in enumerate(self._rungs):
            last = place == len(self._rungs) - 1
            reply = error = refusal = None
            self.counts.add(f"{name}_calls")
            try:
                reply = with_usage(model.ask(replace(request, model=model.model)), request)
            except BackendError as raised:
                error, trouble = raised, trouble_of(raised)
                why = redact(str(raised))
                if trouble is Trouble.REFUSED:
                    refusal = Refusal(reason=why, code=raised.code)
            else:
                cost = self.counts.spent(name, reply.usage, model.cost, so_far=cost)
                refusal = refusal_in(reply)
                rejected = None if last or refusal else self._rejected(request, reply)
                if refusal is None and rejected is None:
                    return CascadeResult(name, reply, None, None, hops, cost)
                trouble = Trouble.REFUSED if refusal else Trouble.REJECTED
                why = refusal.reason if refusal else str(rejected)
            self.counts.add(f"{name}_{trouble.name.lower() if trouble else 'failed'}")
            if last or trouble not in self._rule.falls_through:
                if refusal is None and error is not None:
                    raise error
                return CascadeResult(name, None if refusal else reply, refusal, None, hops, cost)
            hops = (*hops, Hop(name, f"{trouble}: {why}"))
        raise AssertionError  # the last rung has returned or raised

    def _rejected(self, request: ChatRequest, reply: ChatReply) -> str | None:
        return None if self._rule.accept is None else self._rule.accept(request, reply)

    def _keep(self, key: bytes, result: CascadeResult) -> CascadeResult:
        rule = self._rule
        carried = False
        if result.refusal is not None:
            value, ttl = pack_refusal(result.refusal), rule.refusal_ttl
        elif result.reply is not None:
            value = pack_reply(result.reply)
            carried = result.source == "student"
            ttl = rule.answer_ttl if carried else rule.teacher_ttl
        expires_at = None if ttl is None else self._clock.now() + ttl
        row = TailRow(key=key, value=value, expires_at=expires_at, carried=carried)
        try:
            self._store.put_tail(self._cache, [row])
        except Exception as error:  # noqa: BLE001 - the answer is there all the same
            hop = Hop("tail", f"not kept: {_told('cache', error)}")
            return result._replace(hops=(*result.hops, hop))
        return result


def _hit(held: ChatReply | Refusal, generation: str | None, hops: tuple[Hop, ...]) -> CascadeResult:
    if isinstance(held, Refusal):
        return CascadeResult("cache", None, held, generation, hops, _FREE)
    return CascadeResult("cache", held, None, generation, hops, _FREE)


def _why_not(wanted: str | None, held: str) -> str:
    return "miss" if wanted == held else f"it holds answers of {held!r}, not of {wanted!r}"


def _told(what: str, error: Exception) -> str:
    words = f"{what} in trouble: {type(error).__name__}: {redact(str(error))}"
    _log.warning("%s", words)
    return words
