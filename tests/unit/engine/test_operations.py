"""Claims, leases and fences."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from understudy.engine import operations
from understudy.engine.operations import Operation
from understudy.errors import StaleRecord
from understudy.model import Handle
from understudy.store import Store


def add(store: Store, key: str, *, due: float = 0.0, job: str | None = None) -> None:
    with store.write() as tx:
        operations.insert(tx, key=key, kind="upload", backend="fake", at=due, job_id=job)


def claim(
    store: Store, now: float = 10.0, owner: str = "w", limit: int = 100, job: str | None = None
) -> list[Operation]:
    return operations.claim(
        store, owner=owner, now=now, lease=60, limit=limit, watched=False, job_id=job
    )


def get(store: Store, key: str) -> Operation:
    with store.read() as tx:
        return operations.get(tx, key)


def save(store: Store, op: Operation, **changes: object) -> None:
    with store.write() as tx:
        operations.save(tx, op, at=10.0, **changes)


def test_what_is_due_longest_comes_first(store: Store) -> None:
    for key, due in (("b", 5.0), ("a", 3.0), ("c", 99.0), ("d", 4.0)):
        add(store, key, due=due)
    found = [claim(store, limit=1)[0].key for _ in range(3)]
    assert found == ["a", "d", "b"]
    assert claim(store) == []


def test_a_claimed_operation_is_nobody_elses(store: Store) -> None:
    add(store, "a")
    (mine,) = claim(store, owner="one")
    assert (mine.lease_owner, mine.lease_until, mine.fence) == ("one", 70.0, 1)
    assert claim(store, owner="two") == []
    assert claim(store, owner="one") == []


def test_threads_never_claim_the_same(store: Store) -> None:
    for number in range(24):
        add(store, f"op-{number:02}", due=float(number) / 100)

    def take(number: int) -> list[str]:
        found: list[str] = []
        while some := claim(store, owner=f"w{number}", limit=3):
            found += [op.key for op in some]
        return found

    with ThreadPoolExecutor(4) as pool:
        taken = [key for keys in pool.map(take, range(4)) for key in keys]
    assert sorted(taken) == [f"op-{number:02}" for number in range(24)]


def test_a_lease_that_ended_is_claimed_again_and_the_first_cannot_write(store: Store) -> None:
    add(store, "a")
    (frozen,) = claim(store, now=10.0, owner="frozen")
    assert claim(store, now=69.0) == []
    (taken,) = claim(store, now=71.0, owner="awake")
    assert taken.fence == frozen.fence + 1
    with pytest.raises(StaleRecord, match="taken over by another worker"):
        save(store, frozen, status="live")
    with pytest.raises(StaleRecord), store.write() as tx:
        operations.guard(tx, frozen)
    assert get(store, "a").status == "intended"
    save(store, taken, status="live")
    assert get(store, "a").status == "live"


def test_a_stale_write_takes_the_rest_of_its_transaction_along(store: Store) -> None:
    add(store, "a")
    (frozen,) = claim(store)
    claim(store, now=100.0)
    with pytest.raises(StaleRecord), store.write() as tx:
        operations.insert(tx, key="b", kind="train", backend="fake", at=1.0)
        operations.save(tx, frozen, at=1.0)
    assert claim(store, now=1000.0, limit=9)[0].key == "a"
    with store.read() as tx, pytest.raises(Exception, match="No row"):
        operations.get(tx, "b")


def test_saving_gives_the_lease_back_unless_told_otherwise(store: Store) -> None:
    add(store, "a")
    (op,) = claim(store)
    save(store, op, lease_until=500.0)
    assert get(store, "a").lease_owner == "w"
    assert operations.still_ours(store, op, now=499.0)
    assert not operations.still_ours(store, op, now=500.0)
    save(store, op)
    assert (get(store, "a").lease_owner, get(store, "a").lease_until) == (None, None)
    assert not operations.still_ours(store, op, now=1.0)
    assert len(claim(store)) == 1


def test_still_ours_knows_another_claim(store: Store) -> None:
    add(store, "a")
    (first,) = claim(store, now=10.0)
    (second,) = claim(store, now=80.0)
    assert not operations.still_ours(store, first, now=81.0)
    assert operations.still_ours(store, second, now=81.0)


def test_a_lease_is_lengthened_only_while_it_is_ours(store: Store) -> None:
    for key in ("a", "b", "c"):
        add(store, key)
    mine = {op.key: op for op in claim(store, now=10.0)}
    save(store, mine["b"], due_at=None)
    claim(store, now=71.0, owner="other", limit=1)
    held = {key: op.fence for key, op in mine.items()}
    operations.extend(store, held, until=900.0)
    untils = {key: get(store, key).lease_until for key in mine}
    assert sorted(untils.values(), key=str) == [131.0, 900.0, None]
    assert untils["b"] is None
    operations.extend(store, {}, until=1.0)


def test_next_due_counts_a_leased_operation_from_its_leases_end(store: Store) -> None:
    assert operations.next_due(store) is None
    add(store, "a", due=5.0, job="j1")
    add(store, "b", due=40.0, job="j2")
    assert operations.next_due(store) == 5.0
    claim(store, limit=1)
    assert operations.next_due(store) == 40.0
    assert operations.next_due(store, job_id="j1") == 70.0
    save(store, claim(store, now=80.0, job="j1")[0], due_at=None)
    assert operations.next_due(store, job_id="j1") is None


def test_many_are_rescheduled_but_not_those_of_others(store: Store) -> None:
    for key in ("a", "b"):
        add(store, key)
    mine = claim(store, now=10.0)
    claim(store, now=71.0, owner="other", limit=1)
    with store.write() as tx:
        operations.reschedule_many(tx, [(op, 555.0) for op in mine], at=72.0)
        operations.reschedule_many(tx, [], at=72.0)
    found = sorted((get(store, key).due_at, get(store, key).looks) for key in ("a", "b"))
    assert found == [(0.0, 0), (555.0, 1)]


def test_a_handle_comes_back_as_it_was_stored(store: Store) -> None:
    add(store, "a")
    (op,) = claim(store)
    handle = Handle(kind="job", id="job-1", data={"training_file": "file-1"})
    save(store, op, handle=handle, status="live")
    assert get(store, "a").handle == handle


def test_the_same_key_cannot_be_intended_twice(store: Store) -> None:
    add(store, "a")
    with pytest.raises(Exception, match=r"(?i)unique"):
        add(store, "a")
