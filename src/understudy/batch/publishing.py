"""The end of a precompute run: a sample held against live answers, then one switch of the cache.

Answers go into the generation shard by shard in the order of their keys; a shard is marked there
as put, so that a killed publisher goes on behind it. What the cache knew already is carried over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from understudy.batch import sampling
from understudy.batch.account import RunAccount, account_of, saved
from understudy.batch.replies import answer_lines
from understudy.cache import CacheStore, Generation, GenerationWriter
from understudy.engine import Engine, batch_shards, operations
from understudy.engine.batch_shards import Run, RunState, Shard
from understudy.engine.operations import Operation
from understudy.errors import ConfigError, StaleRecord
from understudy.model import Json

__all__ = ["OpenCache", "finish"]

OpenCache = Callable[[], CacheStore]
"""Opens the configured cache at first use, and gives the same one after."""

_KEY_BYTES = 32
_AT_ONCE = 4096
_STALE = (
    "another generation of cache {cache!r} was published while this one was being filled; "
    "`understudy precompute retry {run}` puts this one on top of it"
)


def finish(engine: Engine, op: Operation, run: Run, cache: CacheStore) -> None:
    """Compare, publish or withhold, and store the result."""
    with engine.store.read() as tx:
        account = account_of(tx, run)
        shards = batch_shards.shards_of(tx, run.id)
    sample = sampling.compare(engine, op, run)
    reasons = _why_not(run, account, sample)
    result: dict[str, Json] = {**account.to_json(), "sample": sample, "reasons": reasons}
    result["saved"] = saved(engine, run, account.usage).to_json(account.spent_usd)
    state = RunState.WITHHELD
    if not reasons:
        result |= _publish(engine, run, shards, cache, result)
        state = RunState.DONE
    now = engine.now()
    engine.reach("batch_run.published")
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="done", due_at=None)
        batch_shards.move_run(
            tx,
            run,
            state,
            at=now,
            cause="; ".join(reasons) or _told_published(result),
            worker=engine.worker,
            result=result,
            problem=None,
        )
    if state is RunState.DONE:
        _tidy(batch_shards.folder(engine, run), shards)


def _told_published(result: dict[str, Json]) -> str:
    if "generation" not in result:
        return "there was nothing to ask"
    return (
        f"generation {result['generation']} of cache {result['cache']} is published with "
        f"{result['entries']:,} answers"
    )


def _why_not(run: Run, account: RunAccount, sample: dict[str, Json]) -> list[str]:
    """Why the generation is withheld."""
    reasons = []
    least = run.plan["publish"]["coverage"]
    if not account.known + account.answered:
        reasons.append("nothing was answered")
    elif least is not None and account.coverage < least:
        reasons.append(f"coverage is {account.coverage:.4f}, below {least:g}")
    bar = run.plan["check"]["agreement"]
    agreement = sample.get("agreement")
    if bar is not None and agreement is not None and agreement < bar:
        reasons.append(f"{agreement:.2f} of the sample agree with live answers, below {bar:g}")
    return reasons


def _publish(
    engine: Engine, run: Run, shards: list[Shard], cache: CacheStore, result: dict[str, Json]
) -> dict[str, Json]:
    if not any(shard.answered for shard in shards) and not run.plan["known"]:
        return {}
    publish = run.plan["publish"]
    made = _published(cache, run)
    if made is not None:
        return _told(made)
    meta = {name: result[name] for name in ("coverage", "answered", "known", "spent_usd")}
    writer = cache.writer(
        run.plan["cache"],
        run.id,
        model=run.version,
        ttl=publish["ttl"],
        meta={"run": run.id, **meta},
    )
    with writer:
        _put_all(engine, run, shards, writer)
        folder = batch_shards.folder(engine, run)
        writer.carry(_carried(folder / "carried.keys"), tail=publish["tail"])
        engine.reach("batch_run.filled")
        try:
            made = writer.publish()
        except StaleRecord:
            writer.abandon()
            told = _STALE.format(cache=run.plan["cache"], run=run.id)
            raise ConfigError(told) from None
    return _told(made)


def _published(cache: CacheStore, run: Run) -> Generation | None:
    """The run's generation, where an earlier try had switched to it and died."""
    for one in cache.generations(run.plan["cache"]):
        if one.id == run.id and one.published_at is not None:
            return one
    return None


def _told(made: Generation) -> dict[str, Json]:
    return {"generation": made.id, "entries": made.entries, "cache": made.cache}


def _put_all(engine: Engine, run: Run, shards: list[Shard], writer: GenerationWriter) -> None:
    folder = batch_shards.folder(engine, run)
    numbers = sorted({shard.number for shard in shards})
    there = writer.sources()
    for done, number in enumerate(numbers, 1):
        source = f"{number:05}"
        if source not in there:
            writer.put(_rows(folder, [s for s in shards if s.number == number]), source=source)
            engine.reach("batch_run.put")
        engine.notify(run.owner, f"publish {run.name}", done, len(numbers))


def _rows(folder: Path, shards: list[Shard]) -> Iterator[tuple[bytes, bytes]]:
    """The answers of one range of keys, in their order."""
    if len(shards) == 1:
        lines = answer_lines(folder / f"{shards[0].stem}.answers")
        return ((bytes.fromhex(key), value) for key, value in lines)
    found: list[tuple[str, bytes]] = []
    for shard in shards:
        path = folder / f"{shard.stem}.answers"
        if path.exists():
            found += answer_lines(path)
    found.sort()
    return ((bytes.fromhex(key), value) for key, value in found)


def _carried(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(_KEY_BYTES * _AT_ONCE):
            for start in range(0, len(part), _KEY_BYTES):
                yield part[start : start + _KEY_BYTES]


def _tidy(folder: Path, shards: list[Shard]) -> None:
    """What the generation holds needs no second copy; reasons and the plan stay."""
    for shard in shards:
        for ending in ("answers", "rows"):
            (folder / f"{shard.stem}.{ending}").unlink(missing_ok=True)
