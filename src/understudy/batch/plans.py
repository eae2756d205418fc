"""A plan: the folder of shards for a recipe, made once and found again by its inputs."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from understudy.backend import SupportsBatch
from understudy.batch.choosing import Pinned, Way, choose, pin
from understudy.batch.inputs import identity, read_blocks, shown
from understudy.batch.planning import Known, Planned, PlannedShard, Scope, cut, processes_for, spill
from understudy.batch.questions import Questions
from understudy.batch.recipe import PrecomputeRecipe
from understudy.batch.rendering import WriteLine
from understudy.cache import CacheStore
from understudy.data import request_tokens
from understudy.engine import Engine
from understudy.engine.batch_files import RowForm
from understudy.engine.batch_shards import find_run
from understudy.engine.batch_uploads import FORM
from understudy.errors import ConfigError, DataError
from understudy.fingerprint import fingerprint

__all__ = ["Plan", "make_plan"]

_MANIFEST = "plan.json"
_UNBOUNDED = 1 << 40

Progress = Callable[[str, int], None]
"""Called with a stage and how far it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What would be asked, and where its shards are. ``id`` names run and folder."""

    id: str
    folder: Path
    recipe: PrecomputeRecipe
    pinned: Pinned
    way: Way
    planned: Planned
    cache: str

    @property
    def questions(self) -> Questions:
        """The requests."""
        return questions(self.recipe, self.pinned)


def questions(recipe: PrecomputeRecipe, pinned: Pinned) -> Questions:
    """The requests of a recipe to the pinned model."""
    return Questions(ask=recipe.ask, model=pinned.model, version=pinned.version)


def make_plan(
    engine: Engine,
    cache: CacheStore,
    recipe: PrecomputeRecipe,
    *,
    again: bool = False,
    progress: Progress | None = None,
) -> Plan:
    """Plan the recipe, or find its plan. Nothing is sent.

    Args:
        engine: the engine.
        cache: what it knows already is not asked again.
        recipe: the recipe.
        again: a further run although there is one of these inputs.
        progress: called as rows are read and cut.

    Raises:
        ConfigError, NotEligible: the recipe cannot work, with what to change.
        DataError: the input cannot be read, or has no row that can be asked.
    """
    pinned = pin(engine, recipe)
    way = choose(engine, recipe, pinned)
    asks = questions(recipe, pinned)
    if all(prompt.constant for prompt in asks.prompts()):
        raise ConfigError("[ask] the prompt has no field of the input, such as {{ query }}")
    base = _run_id(recipe, pinned)
    name = recipe.publish.cache or (recipe.name if recipe.ask.backend else recipe.ask.model)
    name = name.partition("@")[0]
    root = engine.batch_root
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{base}.lock"):
        run_id = _next_id(engine, base, again=again)
        folder = root / run_id
        state = _cache_state(cache, name)
        planned = _found(folder, state, way, started=_started(engine, run_id))
        if planned is None:
            known = _known(cache, name)
            planned = _make(engine, recipe, asks, way, folder, known=known, progress=progress)
            _seal(folder, planned, state, way)
    if not planned.unique:
        told = f"no row of {planned.rows:,} can be asked; {folder / 'rejects.jsonl'} says why"
        raise DataError(told, file=shown(recipe.input.path))
    return Plan(
        id=run_id,
        folder=folder,
        recipe=recipe,
        pinned=pinned,
        way=way,
        planned=planned,
        cache=name,
    )


def _run_id(recipe: PrecomputeRecipe, pinned: Pinned) -> str:
    """Hash of all that shapes the generation: equal ids precompute the same thing."""
    shape = {
        "name": recipe.name,
        "input": identity(recipe.input),
        "reference": recipe.input.reference,
        "ask": recipe.ask.model_dump(mode="json"),
        "version": pinned.version,
        "check": recipe.check.model_dump(mode="json"),
        "cache": recipe.publish.cache,
    }
    data = orjson.dumps(shape, option=orjson.OPT_SORT_KEYS)
    return f"pre-{hashlib.sha256(data).hexdigest()[:12]}"


def _next_id(engine: Engine, base: str, *, again: bool) -> str:
    """The newest run of these inputs, or the one after it."""
    number, found = 1, base
    with engine.store.read() as tx:
        while find_run(tx, name := base if number == 1 else f"{base}-{number}") is not None:
            number, found = number + 1, name
    return name if again or number == 1 else found


def _started(engine: Engine, run_id: str) -> bool:
    with engine.store.read() as tx:
        return find_run(tx, run_id) is not None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two that plan the same at once: the second waits, and finds what the first made."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cache_state(cache: CacheStore, name: str) -> str:
    """What was known depends on it: the current generation and the live answers."""
    stats = cache.stats(name)
    current = stats.current.id if stats.current else ""
    return f"{current}+{stats.tail_entries}"


def _found(folder: Path, state: str, way: Way, *, started: bool) -> Planned | None:
    """A plan that was made before; one that nobody has started must still fit the cache."""
    try:
        held = orjson.loads((folder / _MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    if not started and (held["cache"] != state or held["limits"] != asdict(way.limits)):
        return None
    values = held["planned"]
    shards = tuple(PlannedShard(**shard) for shard in values["shards"])
    return Planned(**{**values, "shards": shards})


def _seal(folder: Path, planned: Planned, state: str, way: Way) -> None:
    """Written last: a folder with a manifest is a whole plan."""
    held = {"planned": asdict(planned), "cache": state, "limits": asdict(way.limits)}
    path = folder.with_name(f".{folder.name}.making") / _MANIFEST
    path.write_bytes(orjson.dumps(held))
    shutil.rmtree(folder, ignore_errors=True)
    path.parent.rename(folder)


def _make(
    engine: Engine,
    recipe: PrecomputeRecipe,
    asks: Questions,
    way: Way,
    folder: Path,
    *,
    known: Known | None,
    progress: Progress | None,
) -> Planned:
    making = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    form, whole = _form(engine, asks)
    form.write(making / FORM)
    scope = Scope(
        requests=way.limits.requests,
        bytes=way.limits.bytes,
        tokens=_shard_tokens(way),
        constant=form.constant,
    )
    arguments = {
        "questions": asks,
        "file": shown(recipe.input.path),
        "reference": recipe.input.reference,
        "max_tokens": scope.tokens or _UNBOUNDED,
        "max_bytes": scope.bytes - scope.constant,
        "whole": whole,
    }
    report = progress or (lambda _stage, _done: None)
    spilled = spill(
        read_blocks(recipe.input),
        making,
        arguments=arguments,
        processes=1 if whole else _processes(recipe),
        progress=lambda done: report("rows read", done),
    )
    return cut(
        making,
        spilled,
        scope,
        known=known,
        references=recipe.input.reference is not None,
        sample=0 if whole else recipe.check.sample,
        seed=recipe.check.seed,
        progress=lambda done: report("distinct requests", done),
    )


def _shard_tokens(way: Way) -> int | None:
    """Half the quota: one that fills it alone is refused where the provider counts otherwise."""
    enqueued = way.limits.enqueued_tokens
    return None if enqueued is None else max(enqueued // 2, 1)


def _processes(recipe: PrecomputeRecipe) -> int:
    path = recipe.input.path
    return processes_for(None if "://" in path else Path(path).stat().st_size)


def _known(cache: CacheStore, name: str) -> Known | None:
    stats = cache.stats(name)
    if stats.current is None and not stats.tail_entries:
        return None
    return lambda keys: cache.known(name, keys)


def _form(engine: Engine, asks: Questions) -> tuple[RowForm, WriteLine | None]:
    """The provider's row around the texts, or what writes rows whole where there is no such."""
    backend_name = asks.version.partition(":")[0]
    backend = engine.backends.backend(backend_name)
    if not isinstance(backend, SupportsBatch):
        return _live_form(asks), None
    form = asks.row_form(lambda request, key: backend.batch_row(request, custom_id=key))
    if form is not None:
        return form, None

    def whole(row: Any) -> bytes:
        request = asks.request(row)
        key = fingerprint(request, model_version=asks.version).partition(":")[2]
        tokens = request_tokens(request.messages, request.tools)
        return b"%b%08x%b" % (
            key.encode(),
            tokens,
            orjson.dumps(backend.batch_row(request, custom_id=key)),
        )

    return RowForm.whole(), whole


def _live_form(asks: Questions) -> RowForm:
    """Rows that are asked live are never written; their size counts all the same."""
    form = asks.row_form(lambda request, key: {"key": key, "messages": list(request.messages)})
    assert form is not None
    return form
