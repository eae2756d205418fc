"""Exports: made once, proven, and only then registered."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from engine_kit import Crash, ExportingKitBackend, ExportingProvider, World, crash_at

from understudy.data import Dataset
from understudy.engine import adopting, commands
from understudy.engine.points import EXPORT_LABELS
from understudy.errors import ConfigError
from understudy.recipe import Export
from understudy.store import Store, registry, schema
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError


class Works(World):
    """A world whose provider's models are files."""

    @property
    def works(self) -> ExportingProvider:
        assert isinstance(self.provider, ExportingProvider)
        return self.provider

    def go(self, **changes: Any) -> str:
        wish = {"formats": ("f16", "q4_k_m"), "serve": "q4_k_m", "rows": 4}
        return self.submit(export=Export(**(wish | changes.pop("export", {}))), **changes)

    def versions(self) -> list[registry.ModelVersion]:
        with self.store.read() as tx:
            return registry.list_models(tx)

    def why(self, job: str) -> str:
        problem = self.job(job).problem
        assert problem is not None
        return str(problem["message"])


@pytest.fixture
def works(store: Store, dataset: Dataset) -> Works:
    return Works(store, dataset, cls=ExportingKitBackend)


def test_a_student_is_exported_proven_and_registered_as_the_file_that_serves(works: Works) -> None:
    job = works.go()
    assert works.run_to(job) == "ready"
    (version,) = works.versions()
    assert version.model.endswith(":q4_k_m")
    files = {one["format"]: one for one in version.lineage["export"]["files"]}
    assert set(files) == {"f16", "q4_k_m"}
    assert all(len(one["sha256"]) == 64 and one["path"] for one in files.values())
    assert {model for model, _ in works.works.asked} == {version.model.rpartition(":")[0]}
    assert works.events(job).count("exporting") == 1
    assert "f16 1.000" in next(e.cause for e in works.history(job) if e.event == "exported")


def test_nothing_is_registered_while_the_export_runs(works: Works) -> None:
    works.works.export_script = ((0, "waiting"), (3600, "done"))
    job = works.go()
    works.run_to(job, "registering")
    for _ in range(10):
        works.step_to_next()
    assert works.state(job) == "registering"
    assert works.versions() == []
    assert works.run_to(job) == "ready"


def test_waiting_for_an_export_leaves_the_worker_free(works: Works) -> None:
    works.works.export_script = ((0, "waiting"), (10**9, "done"))
    first = works.go()
    works.run_to(first, "registering")
    works.drain()
    assert works.worker.once() == 0, "an operation is stepped over and over"


def test_the_card_is_told_scores_and_lineage(works: Works) -> None:
    job = works.go()
    works.run_to(job)
    (card,) = works.backend.cards.values()  # type: ignore[attr-defined]
    assert set(card["scores"]) == {"trained", "f16", "q4_k_m"}
    assert card["lineage"]["job"] == job
    assert card["lineage"]["dataset"] == works.dataset.id


def test_a_file_that_talks_nonsense_asks_a_person_and_registers_nothing(works: Works) -> None:
    works.works.garbled = {"q4_k_m"}
    job = works.go()
    assert works.run_to(job) == "needs_attention"
    assert "q4_k_m scores 0.000" in works.why(job)
    assert "trained model 1.000" in works.why(job)
    assert works.versions() == []
    assert works.backend.cards == {}  # type: ignore[attr-defined]


def test_retry_makes_the_export_anew(works: Works) -> None:
    works.works.garbled = {"q4_k_m"}
    job = works.go()
    works.run_to(job)
    works.works.garbled = set()
    commands.retry(works.engine, job)
    assert works.run_to(job) == "ready"
    assert list(works.works.exports) == [f"{job}.export.1", f"{job}.export.2"]


def test_an_export_that_fails_asks_a_person_in_the_backends_words(works: Works) -> None:
    works.works.breaks = "the disk is full; free 2 GB"
    job = works.go()
    assert works.run_to(job) == "needs_attention"
    assert "the disk is full; free 2 GB" in works.why(job)
    assert "jobs retry" in works.why(job)


def test_a_format_that_the_backend_refuses_asks_a_person(works: Works) -> None:
    job = works.go(export={"formats": ("f16", "q0_none"), "serve": "f16"})
    assert works.run_to(job) == "needs_attention"
    assert "name formats out of" in works.why(job)


def test_the_trained_model_cannot_be_cancelled_away(works: Works) -> None:
    works.works.export_script = ((0, "waiting"), (3600, "done"))
    job = works.go()
    works.run_to(job, "registering")
    with pytest.raises(ConfigError, match="has its model already"):
        commands.cancel(works.engine, job)


@pytest.mark.parametrize("label", EXPORT_LABELS)
def test_killed_anywhere_the_export_is_made_once(works: Works, label: str) -> None:
    job = works.go()
    dying = works.make_worker("w0", crash_at(label))
    with pytest.raises(Crash):
        for _ in range(300):
            dying.drain()
            works.clock.advance(5)
    assert works.run_to(job) == "ready"
    assert list(works.works.exports) == [f"{job}.export.1"]
    assert len(works.versions()) == 1


@pytest.mark.parametrize(
    "fault", [FakeConnectionError("cut"), FakeHTTPError(500, "oops")], ids=["cut", "500"]
)
def test_a_lost_reply_is_found_and_not_sent_again(works: Works, fault: Exception) -> None:
    def cut(label: str) -> None:
        if label == "export.before-post":
            works.works.fail(fault, creates_only=True, after=True)

    works.worker = works.make_worker("w0", cut)
    job = works.go()
    assert works.run_to(job) == "ready"
    assert works.works.paid_requests == 2, "one training job, one export"
    assert list(works.works.exports) == [f"{job}.export.1"]


def test_the_same_training_with_the_same_files_is_registered_once(works: Works) -> None:
    first = works.go(train_key="same")
    works.run_to(first)
    second = works.go(train_key="same")
    assert works.run_to(second) == "ready"
    assert len(works.versions()) == 1
    assert list(works.works.exports) == [f"{first}.export.1"]


def test_the_same_training_with_other_files_is_another_version(works: Works) -> None:
    first = works.go(train_key="same")
    works.run_to(first)
    for run in ("second", "third"):
        other = works.go(train_key="same", export={"serve": "f16"}, run_key=run)
        assert works.run_to(other) == "ready"
    assert [one.model.rpartition(":")[2] for one in works.versions()] == ["q4_k_m", "f16"]


def test_the_export_is_stored_before_it_is_registered(works: Works) -> None:
    job = works.go()
    works.run_to(job)
    (op,) = [row for row in works.rows(schema.operations) if row["kind"] == "export"]
    assert op["status"] == "done"
    made = works.backend.exported(works.op(job, "export").handle)  # type: ignore[attr-defined]
    assert op["payload"]["made"]["files"] == [asdict(one) for one in made.files]
    assert set(op["payload"]["made"]["scores"]) == {"trained", "f16", "q4_k_m"}


def test_a_checkpoint_without_files_is_not_registered(works: Works) -> None:
    job = works.go()
    works.run_to(job)
    with pytest.raises(ConfigError, match="checkpoints are not exported"):
        adopting.register_checkpoint(works.engine, job, "5")
    assert len(works.versions()) == 1
