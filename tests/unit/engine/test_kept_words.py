"""What the store and the log keep of an error: no secret and no row's text."""

from __future__ import annotations

import logging

import engine_kit
import pytest
import sqlalchemy as sa
from engine_kit import World

from understudy.errors import InvalidData, NotEligible, Unavailable
from understudy.store import Store, schema

SECRET = "sk-live-0123456789abcdef"


@pytest.mark.parametrize("error", [InvalidData, NotEligible, Unavailable])
def test_a_secret_in_a_create_s_error_is_not_kept(world: World, error: type[Exception]) -> None:
    job = world.submit()

    def create(*_: object, **__: object) -> None:
        raise error(f"refused: {SECRET}")

    world.backend.create = create  # type: ignore[method-assign,assignment]
    world.drain()
    assert "refused: [redacted]" in str(world.op(job).last_error)
    assert SECRET not in str([world.rows(table) for table in schema.metadata.sorted_tables])


def test_the_words_of_an_unforeseen_error_are_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = next(iter(world.dataset.examples("test")))
    question = row.messages[-1]["content"]

    def scorer(_said: str, expected: str) -> float:
        raise ValueError(f"{expected} is no answer to {question}")

    monkeypatch.setattr(engine_kit._Backends, "scorer", lambda *_: scorer)
    job = world.submit()
    with caplog.at_level(logging.DEBUG):
        assert world.run_to(job) == "needs_attention"
    assert "8 times in a row: ValueError at test_kept_words.py:" in str(world.job(job).problem)
    kept = str([world.rows(table) for table in (schema.jobs, schema.operations, schema.events)])
    assert question not in kept + caplog.text


def test_a_database_s_error_does_not_show_what_was_to_be_written(store: Store) -> None:
    assert store.engine.hide_parameters
    answer = {"fingerprint": None, "reply": {"text": "a row"}, "operation": "x", "at": 1.0}
    with pytest.raises(sa.exc.IntegrityError) as caught, store.write() as tx:
        tx.execute(sa.insert(schema.answers).values(**answer))
    assert "'x'" not in str(caught.value)
