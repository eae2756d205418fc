"""What there is to say of a job, a model version or a dataset, gathered for people and programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from understudy.costs import ledger
from understudy.costs.money import add
from understudy.data import Dataset, list_datasets, load_dataset
from understudy.engine import deployments, jobs
from understudy.engine.deployments import DeploymentRecord
from understudy.engine.jobs import JobRecord
from understudy.engine.looking import CurvePoint, TrainingLog, training_handle
from understudy.errors import ConfigError, DataError
from understudy.evaluate import EvaluationReport
from understudy.model import Handle, Json
from understudy.project import Project
from understudy.store import registry
from understudy.store.registry import ModelVersion
from understudy.validation import nearest

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = [
    "CostLine",
    "JobReport",
    "dataset_summary",
    "find_dataset",
    "find_model",
    "job_report",
    "job_summary",
    "model_summary",
    "rejected_rows",
    "training_curve",
]


_KINDS = {
    "train": "training",
    "evaluate": "evaluation",
    "hosting": "hosting",
    "proof": "proof that a deployment answers",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CostLine:
    """What one kind of work of a job has cost, and what is still set aside for it; US dollars."""

    kind: str
    spent: Decimal
    reserved: Decimal
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JobReport:
    """Everything about one job.

    ``dataset`` is None where its folder is gone, ``evaluation`` and ``model`` while there are
    none. ``repayments`` are completions that may have been paid twice. ``alias_target`` is the
    version that the recipe's alias points at now. ``deployments`` are those of the job, the
    stopped ones too.
    """

    job: JobRecord
    remote: Handle | None
    dataset: Dataset | None
    costs: tuple[CostLine, ...]
    repayments: tuple[Mapping[str, Json], ...]
    evaluation: EvaluationReport | None
    model: ModelVersion | None
    alias_target: str | None
    deployments: tuple[DeploymentRecord, ...] = ()

    @property
    def actual(self) -> Decimal:
        """US dollars spent so far."""
        return add(*(line.spent for line in self.costs))

    @property
    def repaid_at_most(self) -> Decimal:
        """US dollars that crashes may have cost on top."""
        return add(*(item["at_most_usd"] for item in self.repayments))

    def to_json(self) -> dict[str, Json]:
        """The report as JSON; money as decimal strings."""
        estimate = self.job.plan.estimate
        return {
            "job": job_summary(self.job) | {"remote_id": self.remote.id if self.remote else None},
            "dataset": dataset_summary(self.dataset) if self.dataset else None,
            "estimate": {name: estimate.get(name) for name in ("expected", "at_most")},
            "cost": {
                "actual": _usd(self.actual),
                "lines": [_cost(line) for line in self.costs],
                "possible_repayments": [
                    {**item, "at_most_usd": _usd(item["at_most_usd"])} for item in self.repayments
                ],
            },
            "evaluation": self.evaluation.to_json() if self.evaluation else None,
            "model": model_summary(self.model) if self.model else None,
            "alias": {"name": self.job.plan.alias, "target": self.alias_target},
            "deployments": [record.to_json() for record in self.deployments],
        }


def _usd(amount: Decimal) -> str:
    return format(amount.normalize(), "f")


def _cost(line: CostLine) -> dict[str, Json]:
    return {
        "kind": line.kind,
        "spent": _usd(line.spent),
        "reserved": _usd(line.reserved),
        "note": line.note,
    }


def job_summary(job: JobRecord) -> dict[str, Json]:
    """The job's own record as JSON, without its plan."""
    spec = job.plan.spec
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state.value,
        "stage": job.stage.value if job.stage else None,
        "backend": job.backend,
        "base_model": spec.base_model,
        "method": spec.method,
        "dataset": job.dataset_id,
        "budget": job.budget,
        "model": job.model_id,
        "problem": job.problem,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


def model_summary(model: ModelVersion) -> dict[str, Json]:
    """A model version as JSON, without its lineage."""
    return {
        "id": model.id,
        "backend": model.backend,
        "model": model.model,
        "base_model": model.base_model,
        "owner": model.owner,
        "created_at": model.created_at,
    }


def dataset_summary(dataset: Dataset) -> dict[str, Json]:
    """A dataset's manifest as JSON: counts, tokens and hashes; no row."""
    return {
        "id": dataset.id,
        "method": dataset.method,
        "source": dict(dataset.source),
        "config": dict(dataset.config),
        "lines": dataset.lines,
        "blank": dataset.blank,
        "kept": dataset.kept,
        "dropped": dataset.dropped,
        "rejected": dict(dataset.rejected),
        "splits": {name: asdict(info) for name, info in dataset.splits.items()},
    }


def job_report(project: Project, job_id: str) -> JobReport:
    """All that the store and the data folder say of a job. Asks no provider.

    Raises:
        ConfigError: there is no such job.
    """
    with project.store.read() as tx:
        job = jobs.get(tx, job_id)
        return JobReport(
            job=job,
            remote=training_handle(tx, job.id),
            dataset=_dataset(project, job),
            costs=tuple(_cost_line(row) for row in ledger.entries(tx, job_id=job.id)),
            repayments=tuple(ledger.possible_repayments(tx, job_id=job.id)),
            evaluation=_evaluation(tx, job),
            model=registry.get_model(tx, job.model_id) if job.model_id else None,
            alias_target=registry.alias_target(tx, job.plan.alias) if job.plan.alias else None,
            deployments=tuple(deployments.of_job(tx, job.id)),
        )


def _cost_line(row: Mapping[str, Json]) -> CostLine:
    return CostLine(
        kind=_KINDS.get(row["kind"], str(row["kind"])),
        spent=row["spent_usd"],
        reserved=row["reserved_usd"],
        note=row["note"],
    )


def _dataset(project: Project, job: JobRecord) -> Dataset | None:
    try:
        return load_dataset(project.data_root / job.plan.dataset)
    except DataError:
        return None


def _evaluation(tx: sa.Connection, job: JobRecord) -> EvaluationReport | None:
    if job.model_id is None:
        return None
    for row in registry.history(tx, job.model_id):
        if row["operation"].startswith(f"{job.id}."):
            return EvaluationReport.from_json(row["report"])
    return None


def training_curve(project: Project, job_id: str) -> tuple[CurvePoint, ...]:
    """The losses that the provider tells of; none before the job was submitted.

    Raises:
        BackendError: the provider could not be asked.
        ConfigError: the job's backend is not set up any more.
    """
    log = TrainingLog(project.store, project, job_id)
    log.look()
    return tuple(log.points)


def find_model(tx: sa.Connection, reference: str) -> ModelVersion:
    """The version that ``reference`` names: ``name@3``, an alias, or the beginning of one id.

    Raises:
        ConfigError: there is none, or there are several.
    """
    known = [model.id for model in registry.list_models(tx)]
    exact = registry.alias_target(tx, reference) or reference
    if exact in known:
        return registry.get_model(tx, exact)
    begin = [name for name in known if name.startswith(reference)]
    if len(begin) > 1:
        raise ConfigError(f"several model versions begin with {reference!r}: {', '.join(begin)}")
    return registry.get_model(tx, begin[0] if begin else reference)


def find_dataset(project: Project, reference: str) -> Dataset:
    """The dataset whose id is, or begins with, ``reference``; ``ds-`` may be left out.

    Raises:
        ConfigError: there is none, or there are several.
    """
    known = {dataset.id: dataset for dataset in list_datasets(project.data_root)}
    begin = [name for name in known if name.startswith((reference, f"ds-{reference}"))]
    if len(begin) > 1 and reference not in known:
        raise ConfigError(f"several datasets begin with {reference!r}: {', '.join(begin)}")
    if not begin:
        raise ConfigError(f"there is no dataset {reference!r}: {nearest(reference, known)}")
    return known[reference if reference in known else begin[0]]


def rejected_rows(
    dataset: Dataset, *, limit: int, reason: str | None = None
) -> Iterator[Mapping[str, Json]]:
    """The first ``limit`` rejected rows with file, line, field, reason and the row itself.

    Raises:
        DataError: the dataset's folder lost its file.
    """
    path = dataset.path / "rejected.jsonl"
    try:
        with path.open("rb") as file:
            rows = (orjson.loads(line) for line in file)
            yield from islice((r for r in rows if reason in {None, r["reason"]}), limit)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", file=path) from None
