"""From a recipe to a job: dataset, checks, estimate, budget, submission."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING

import rfc8785

from understudy.backend import (
    Backend,
    Capabilities,
    SupportsEstimate,
    SupportsExport,
    SupportsLifecycle,
)
from understudy.collecting import prepare_dataset
from understudy.costs.estimate import Asked, Hosted, RunEstimate, estimate_run
from understudy.costs.ledger import BudgetState, budget_state, open_budget
from understudy.costs.money import to_nanos
from understudy.data import Dataset, count, request_tokens
from understudy.engine import Engine, adopting, commands, jobs
from understudy.engine.jobs import JobRecord, Plan
from understudy.errors import BackendError, ConfigError, Retired
from understudy.model import Estimate, JobSpec, Json, Lifecycle
from understudy.project import Project
from understudy.recipe import Export, Recipe, Train
from understudy.secrets import looks_secret
from understudy.store import registry
from understudy.validation import nearest, parse

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Prepared", "adopt_run", "prepare_run", "start_run"]

_WARN_DAYS = 90


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A run that could start: what it trains on, what it may cost, what to know about it."""

    recipe: Recipe
    dataset: Dataset
    spec: JobSpec
    estimate: RunEstimate
    training: Estimate
    warnings: tuple[str, ...]
    closed: BackendError | None = None
    """Why no new job can be started on the base model; one that runs already goes on."""

    @property
    def train_key(self) -> str:
        """Hash of all that shapes the trained model: equal keys train the same thing."""
        train = self.recipe.train.model_dump(mode="json")
        return _hash({"name": self.recipe.name, "train": train, "dataset": self.dataset.id})

    @property
    def run_key(self) -> str:
        """Hash of all that shapes the run's outcome, the evaluation and the alias included."""
        recipe = self.recipe
        outcome: Json = {
            "train": self.train_key,
            "by": recipe.evaluation.model_dump(mode="json"),
            "alias": recipe.alias,
        }
        if recipe.export != Export():
            outcome["export"] = recipe.export.model_dump(mode="json")
        return _hash(outcome)


def _hash(value: Json) -> str:
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()[:32]


def prepare_run(
    project: Project,
    recipe: Recipe,
    *,
    online: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Make (or find) the dataset, check everything that can be checked, and estimate the cost.

    Args:
        project: the project.
        recipe: the recipe.
        online: also ask the provider when the base model goes away (one unpaid request).
        progress: called with the number of source rows read so far.

    Raises:
        ConfigError: hyperparameters or limits that cannot work, each with its fix.
        DataError: the source cannot be used.
    """
    train = recipe.train
    _refuse_secrets(recipe)
    backend = project.backend(train.backend)
    where = f"[train.hyperparameters] for {train.backend}"
    parse(type(backend).Params, train.hyperparameters, where=where)
    _require_method(train, project.capabilities(train.backend).methods)
    _require_formats(backend, recipe.export)
    project.scorer(recipe.evaluation.scorer)
    _require_batches(project, recipe)
    warnings, closed = _lifecycle(project, backend, train.base_model) if online else ((), None)
    dataset = prepare_dataset(project, recipe, progress=progress)
    spec = _spec(recipe, dataset)
    _require_valid(backend, spec)
    training = _billed(backend, spec)
    return Prepared(
        recipe=recipe,
        dataset=dataset,
        spec=spec,
        training=training,
        estimate=_estimate(project, recipe, dataset, training),
        warnings=warnings,
        closed=closed,
    )


def _spec(recipe: Recipe, dataset: Dataset) -> JobSpec:
    train = recipe.train
    return JobSpec(
        base_model=train.base_model,
        method=train.method,
        training=dataset.rows("train"),
        validation=dataset.validation,
        hyperparameters=train.hyperparameters,
        suffix=train.suffix,
        seed=train.seed,
        metadata=train.metadata,
        integrations=train.integrations,
    )


def _require_method(train: Train, methods: tuple[str, ...]) -> None:
    if train.method not in methods:
        raise ConfigError(
            f"[train.method] {train.backend} cannot train by {train.method!r}; it has "
            f"{', '.join(methods)}. Take one of them, or another backend (`understudy backends`)"
        )


def _require_valid(backend: Backend, spec: JobSpec) -> None:
    problems = backend.validate(spec)
    if problems:
        raise ConfigError(
            f"{backend.name} cannot train this: "
            + "; ".join(f"[{item.field}] {item.message}. {item.fix}" for item in problems)
        )


def _require_formats(backend: Backend, wish: Export) -> None:
    if not isinstance(backend, SupportsExport):
        return
    known = backend.export_formats()
    for name in wish.formats:
        if name not in known:
            raise ConfigError(
                f"[export.formats] {name!r} is no format of {backend.name}: {nearest(name, known)}"
            )


def _require_batches(project: Project, recipe: Recipe) -> None:
    support = project.capabilities(recipe.train.backend).batch
    if recipe.evaluation.ask == "batch" and not support.ok:
        raise ConfigError(
            f"[evaluation] ask: {recipe.train.backend} does not answer by batch: "
            f'{support.reason}; take ask = "live"'
        )


def _refuse_secrets(recipe: Recipe) -> None:
    """Metadata is kept in the store and sent to the provider: no place for a key."""
    for name, value in recipe.train.metadata.items():
        if looks_secret(value) or looks_secret(name):
            raise ConfigError(
                f"[train.metadata.{name if not looks_secret(name) else '...'}] looks like a key "
                "or token; metadata is stored and sent to the provider, so take it out"
            )


def _billed(backend: Backend, spec: JobSpec) -> Estimate:
    if isinstance(backend, SupportsEstimate):
        return backend.estimate(spec)
    tokens = spec.training.tokens
    note = f"{backend.name} gives no estimate; one epoch is assumed"
    return Estimate(tokens=tokens, at_most=tokens * 50, epochs=1, notes=(note,))


def _lifecycle(
    project: Project, backend: Backend, model: str
) -> tuple[tuple[str, ...], BackendError | None]:
    """Warnings about days that are near, and why the model is closed, if it is.

    A provider that cannot be asked closes it too: what is found or estimated needs no answer.
    """
    if not isinstance(backend, SupportsLifecycle):
        return (), None
    today = datetime.fromtimestamp(project.config.clock.now(), UTC).date()
    try:
        return _ends(backend.lifecycle(model), today)
    except BackendError as error:
        return (), error


def _ends(life: Lifecycle, today: date) -> tuple[tuple[str, ...], BackendError | None]:
    days: dict[str, list[str]] = {}
    for what, day in (("training", life.training_until), ("answers", life.inference_until)):
        if day is not None:
            days.setdefault(day, []).append(what)
    warnings = []
    for day, ending in sorted(days.items()):
        left = (date.fromisoformat(day) - today).days
        told = f"{' and '.join(ending)}; source: {life.source}"
        # On the day itself the model is gone, or goes within hours.
        if left <= 0:
            return (), Retired(
                f"{life.model} ended on {day} ({told}), so no job was submitted; "
                "choose another base model, or another backend"
            )
        if left <= _WARN_DAYS:
            warnings.append(
                f"{life.model} ends on {day}, in {left} days ({told}): "
                "a student trained on it ends with it"
            )
    return tuple(warnings), None


def _estimate(
    project: Project, recipe: Recipe, dataset: Dataset, training: Estimate
) -> RunEstimate:
    judged = recipe.evaluation
    rows = list(islice(dataset.examples("test"), judged.max_rows))
    tokens = sum(request_tokens(row.messages, row.tools) for row in rows)
    expected = sum(count(row.expected) for row in rows)
    base = recipe.train.base_model
    capabilities = project.capabilities(recipe.train.backend)
    subjects = [("student", f"ft:{base}"), *_present(project, recipe)]
    hosted = _hosted(recipe, capabilities, len(subjects)) if capabilities.deploy.ok else None
    if judged.compare_base and hosted is None:
        subjects.insert(1, ("base", base))
    return estimate_run(
        project.prices,
        provider=capabilities.price_book,
        base_model=base,
        training=training,
        tier=training.tier,
        asked=[
            Asked(
                subject=name,
                model=model,
                rows=len(rows),
                input_tokens=tokens,
                expected_output_tokens=expected,
                max_output_tokens=judged.max_output_tokens,
            )
            for name, model in subjects
        ],
        hosted=hosted,
        at=project.config.clock.now(),
    )


def _hosted(recipe: Recipe, capabilities: Capabilities, deployments: int) -> Hosted:
    """What the evaluation deploys: one for each fine-tuned model that it asks."""
    wish = recipe.deployment
    return Hosted(
        sku=wish.evaluation_sku or capabilities.default_skus.get("evaluation"),
        deployments=deployments,
        hours=wish.evaluation_hours,
    )


def _present(project: Project, recipe: Recipe) -> list[tuple[str, str]]:
    if recipe.alias is None:
        return []
    with project.store.read() as tx:
        target = registry.alias_target(tx, recipe.alias)
        return [("present", registry.get_model(tx, target).model)] if target else []


def start_run(
    project: Project, engine: Engine, prepared: Prepared, *, again: bool = False
) -> tuple[JobRecord, bool]:
    """Submit the run, or find the job that is already on it.

    Returns:
        The job, and whether it is new.

    Raises:
        BudgetExceeded: the most that the run may cost is more than is left. Nothing was sent.
        BackendError: a new job is needed, and the base model is shut down or closed for training,
            or the provider could not be asked.
    """
    key = prepared.run_key
    with project.store.write() as tx:
        present = jobs.find_run(tx, key)
        budget = _open_budget(tx, prepared)
        earlier = [] if again else jobs.trained_alike(tx, prepared.train_key)
    if present is not None and not again:
        commands.change_deployment(engine, present.id, prepared.recipe.deployment)
        return present, False
    if present is not None:
        number = int(present.run_key.partition("#")[2] or "1")
        key = f"{key}#{number + 1}"
    trained = any(job.model_id for job in earlier)
    if prepared.closed is not None and not trained:
        raise prepared.closed
    training = prepared.estimate.most("train")
    budget.require(prepared.estimate.at_most - (training if trained else 0))
    job = commands.submit(
        engine,
        plan=_plan(prepared),
        backend=prepared.recipe.train.backend,
        dataset_id=prepared.dataset.id,
        run_key=key,
        train_key=prepared.train_key if not again else key,
    )
    return job, True


def adopt_run(project: Project, engine: Engine, prepared: Prepared, remote_id: str) -> JobRecord:
    """Take a job in that was started at the provider without Understudy.

    Args:
        project: the project.
        engine: the engine.
        prepared: what the recipe says of it: dataset to judge on, bar, alias, budget.
        remote_id: the provider's id of the job.

    Raises:
        BudgetExceeded: the most that it may cost is more than is left.
        ConfigError: it belongs to a job already, or trains another base model.
        NotFound: the provider has no such job.
    """
    with project.store.write() as tx:
        _open_budget(tx, prepared)
    return adopting.adopt(
        engine,
        plan=_plan(prepared),
        backend=prepared.recipe.train.backend,
        dataset_id=prepared.dataset.id,
        run_key=prepared.run_key,
        remote_id=remote_id,
    )


def _plan(prepared: Prepared) -> Plan:
    train_nanos, evaluate_nanos = _reservations(prepared)
    recipe = prepared.recipe
    return Plan(
        name=recipe.name,
        spec=prepared.spec,
        dataset=str(prepared.dataset.path),
        evaluation=recipe.evaluation,
        deployment=recipe.deployment,
        export=recipe.export,
        alias=recipe.alias,
        budget=recipe.budget_name,
        on_exhausted=recipe.budget.on_exhausted,
        train_at_most=train_nanos,
        evaluate_at_most=evaluate_nanos,
        expected_tokens=prepared.training.tokens,
        tier=prepared.training.tier,
        recipe=recipe.model_dump(mode="json"),
        estimate=prepared.estimate.to_json(),
    )


def _open_budget(tx: sa.Connection, prepared: Prepared) -> BudgetState:
    recipe = prepared.recipe
    open_budget(tx, name=recipe.budget_name, limit_nanos=to_nanos(recipe.budget.limit_usd))
    state = budget_state(tx, recipe.budget_name)
    assert state is not None
    return state


def _reservations(prepared: Prepared) -> tuple[int, int]:
    """Upper bounds of training and evaluation, in nano-dollars.

    Hosting is reserved when a deployment is intended, for each one its own.
    """
    estimate = prepared.estimate
    return to_nanos(estimate.most("train"), up=True), to_nanos(estimate.most("evaluate"), up=True)
