"""Jobs without a server: caching, and a learner that breaks."""

from __future__ import annotations

import json

import pytest

from understudy_sandbox.config import Config, Timings
from understudy_sandbox.provider import Provider
from understudy_sandbox.training import checkpoint_points, new_job


@pytest.fixture
def provider(tmp_path):
    timings = Timings(validating=0, queued=0, running=0)
    made = Provider(Config(data=tmp_path / "state", timings=timings))
    yield made
    made.close()


def add_job(provider, tmp_path, seed: int = 1) -> str:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"is {i}"},
                {"role": "assistant", "content": "x"},
            ]
        }
        for i in range(10)
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    blob, _ = provider.state.keep_blob(source)
    asked = {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": "auto"}
    job = new_job(
        created=provider.clock.now(),
        model="gpt-4o-mini-2024-07-18",
        base="gpt-4o-mini-2024-07-18",
        parents=[],
        training_file="file-x",
        training_blob=blob,
        validation_file=None,
        validation_blob=None,
        method={"type": "supervised"},
        asked=asked,
        seed=seed,
        suffix=None,
        metadata=None,
        integrations=[],
        timings={"validating": 0.0, "queued": 0.0, "running": 0.0, "pausing": 0.0},
    )
    return provider.trainer.add(job)["id"]


def ended(provider, name: str) -> dict:
    # Closing waits for the learner's thread: what is to be done is then done.
    provider.trainer._pool.submit(int).result(20)
    provider.trainer._pool.submit(int).result(20)
    provider.trainer.settle()
    provider.trainer._pool.submit(int).result(20)
    provider.trainer.settle()
    return provider.state.docs["job"].get(name)["final"]


def test_equal_jobs_are_fitted_once(provider, tmp_path, monkeypatch) -> None:
    fits = []
    real = provider.fits._fit
    monkeypatch.setattr(provider.fits, "_fit", lambda *a: fits.append(1) or real(*a))
    names = [add_job(provider, tmp_path) for _ in range(20)]
    assert {ended(provider, n)["status"] for n in names} == {"succeeded"}
    assert len(fits) == 1


def test_a_learner_that_breaks_fails_the_job(provider, tmp_path, monkeypatch, caplog) -> None:
    def broken(*_args):
        raise ArithmeticError("no luck")

    monkeypatch.setattr(provider.fits, "_fit", broken)
    final = ended(provider, add_job(provider, tmp_path))
    assert final["status"] == "failed"
    assert final["error"]["code"] == "server_error"
    assert "broke off" in caplog.text
    assert provider.bill.shown()["entries"] == []


@pytest.mark.parametrize(
    ("epochs", "steps", "points"),
    [
        (1, 5, [(1, 5)]),
        (3, 30, [(1, 10), (2, 20), (3, 30)]),
        (10, 100, [(8, 80), (9, 90), (10, 100)]),
    ],
)
def test_checkpoints_are_the_last_three_epochs(epochs, steps, points) -> None:
    assert checkpoint_points(epochs, steps) == points
