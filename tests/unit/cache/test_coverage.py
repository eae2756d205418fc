from __future__ import annotations

import gzip
import json
from collections import Counter
from decimal import Decimal
from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.batch import frequencies
from understudy.batch.coverage import Coverage, unseen_mass
from understudy.batch.coverage_plot import plot
from understudy.batch.frequencies import CountClass, QueryLog, tally
from understudy.batch.recipe import Input
from understudy.errors import ConfigError, DataError

LOG = {"loans": 50, "cards": 30, "hours": 10, "fees": 5, "one": 1, "two": 1, "three": 1, "x": 2}


def written(path, counts=LOG, *, once_each=False):
    lines = []
    for query, times in counts.items():
        rows = [{"q": query}] * times if once_each else [{"q": query, "n": times}]
        lines += [json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def counted(path, folder, **options):
    folder.mkdir()
    return tally(Input(path=str(path)), folder=folder, **options)


@pytest.fixture
def log(tmp_path):
    return counted(written(tmp_path / "log.jsonl"), tmp_path / "parts", count_field="n")


def head_of(log, keys):
    return {orjson.loads(text)["q"]: times for text, times in log.head(keys)}


def test_a_log_is_counted_however_it_is_written(tmp_path, log):
    plain = written(tmp_path / "plain.jsonl", once_each=True)
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "log.csv"
    table.write_text("q,n\n" + "".join(f'"{q}",{n}\n' for q, n in LOG.items()))
    import pyarrow as pa
    from pyarrow import parquet

    columnar = tmp_path / "log.parquet"
    parquet.write_table(pa.table({"q": list(LOG), "n": list(LOG.values())}), columnar)
    logs = [
        log,
        counted(plain, tmp_path / "a"),
        counted(packed, tmp_path / "b"),
        counted(table, tmp_path / "c", count_field="n"),
        counted(columnar, tmp_path / "d", count_field="n"),
    ]
    for each in logs:
        assert (each.traffic, each.distinct) == (100, 8)
        assert head_of(each, 8) == LOG
        assert {n: c.keys for n, c in each.classes.items()} == {
            50: 1,
            30: 1,
            10: 1,
            5: 1,
            2: 1,
            1: 3,
        }


def test_the_head_is_the_most_frequent(log):
    assert head_of(log, 2) == {"loans": 50, "cards": 30}
    assert len(head_of(log, 6)) == 6, "ties are cut off somewhere"
    assert head_of(log, 0) == {}


def test_fields_say_what_a_query_is(tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [{"q": "a", "user": n, "lang": "de" if n % 2 else "en"} for n in range(10)]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert counted(path, tmp_path / "a", fields=["q"]).distinct == 1
    assert counted(path, tmp_path / "b", fields=["q", "lang"]).distinct == 2
    assert counted(path, tmp_path / "c").distinct == 10


def test_rows_that_do_not_count_are_kept_with_their_reason(tmp_path):
    path, rejects = tmp_path / "log.jsonl", tmp_path / "rejected.jsonl"
    path.write_text('{"q":"a","n":2}\n\nbroken\n[1]\n{"q":"b"}\n{"q":"c","n":0}\n{"n":1}\n')
    log = counted(path, tmp_path / "p", fields=["q"], count_field="n", rejects=rejects)
    assert log.traffic == 2
    kept = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(each["line"], each["field"], each["reason"]) for each in kept] == [
        (3, None, "is no JSON"),
        (4, None, "is no JSON object"),
        (5, "n", "is missing"),
        (6, "n", "is no whole number above 0"),
        (7, "q", "is missing"),
    ]
    assert kept[0]["row"] == "broken"
    assert log.rejected.total() == 5
    path.write_text('{"q":"a"}\n')
    with pytest.raises(DataError, match="no row counts"):
        counted(path, tmp_path / "p2", count_field="n")


def test_a_log_that_does_not_fit_into_memory_is_counted_all_the_same(tmp_path, monkeypatch):
    counts = {f"query {number}": 1 + 900 // (number + 1) for number in range(700)}
    path = written(tmp_path / "log.jsonl", counts, once_each=True)
    whole = counted(path, tmp_path / "a")
    monkeypatch.setattr(frequencies, "_IN_MEMORY", 50)
    spilled = counted(path, tmp_path / "b")
    assert spilled.classes == whole.classes
    assert head_of(spilled, 700) == counts
    top = sorted(counts.values(), reverse=True)
    assert sorted(head_of(spilled, 123).values(), reverse=True) == top[:123]
    assert len(list((tmp_path / "b").iterdir())) > 100


def test_the_curve_says_how_many_keys_cover_how_much(log):
    coverage = Coverage(log)
    point = coverage.reaching(0.9)
    assert (point.keys, point.of_log, point.least, point.cost) == (3, 0.9, 10, None)
    assert coverage.reaching(0.905).keys == 4
    assert (coverage.reaching(1.0).keys, coverage.at_keys(99).keys) == (8, 8)
    with pytest.raises(ConfigError, match="cannot be covered"):
        coverage.reaching(0.99, to_come=True)
    assert coverage.reaching(0.5, to_come=True).to_come >= 0.5


def test_cost_counts_the_queries_that_are_in(tmp_path):
    path = written(tmp_path / "log.jsonl")
    log = counted(path, tmp_path / "p", count_field="n", tokens_of=len)
    coverage = Coverage(log, lambda keys, tokens: Decimal(keys) + Decimal(tokens) / 1000)
    assert coverage.at_keys(2).tokens == len("loanscards")
    assert coverage.at_keys(2).cost == Decimal("2.010")
    assert coverage.at_keys(8).tokens == sum(map(len, LOG))


def test_unseen_mass_is_the_share_of_what_was_seen_once(log):
    unseen = unseen_mass(log.classes, log.traffic)
    assert unseen.mass == 0.03
    assert unseen.low < unseen.mass < unseen.high
    whole = QueryLog(classes={5: CountClass(keys=10)}, traffic=50)
    assert Coverage(whole).reaching(1.0).to_come == 1.0, "nothing was seen once"
    strange = QueryLog(classes={1: CountClass(keys=10)}, traffic=10)
    assert Coverage(strange).at_keys(10).to_come == 0.0


@pytest.mark.parametrize("exponent", [1.0, 1.1, 1.2])
def test_the_estimate_holds_on_traffic_to_come(exponent):
    """Zipf's law with 200,000 queries: what 50,000 draws say of the rest, against the truth."""
    import numpy as np

    weights = 1 / np.arange(1, 200_001) ** exponent
    weights /= weights.sum()
    drawn = np.random.default_rng(5).choice(len(weights), size=50_000, p=weights)
    queries, counts = np.unique(drawn, return_counts=True)
    classes = {n: CountClass(keys=keys) for n, keys in Counter(counts.tolist()).items()}
    coverage = Coverage(QueryLog(classes=classes, traffic=50_000))
    unseen = 1 - weights[queries].sum()
    assert coverage.unseen.low - 0.005 < unseen < coverage.unseen.high + 0.005
    for least in (1, 2, 3, 5, 20, 200):
        head = queries[counts >= least]
        point = coverage.at_keys(len(head))
        assert point.to_come == pytest.approx(weights[head].sum(), abs=0.01)
        assert point.of_log >= point.to_come - 1e-9


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(1, 60), st.integers(1, 400), min_size=1, max_size=12))
def test_curves_rise_and_heads_are_smallest(sizes):
    classes = {count: CountClass(keys=keys, tokens=keys * 3) for count, keys in sizes.items()}
    log = QueryLog(classes=classes, traffic=sum(n * k for n, k in sizes.items()))
    coverage = Coverage(log, lambda keys, tokens: Decimal(keys + tokens))
    points = coverage.curve(30)
    for before, after in pairwise(points):
        assert (before.keys, before.of_log) < (after.keys, after.of_log)
        assert before.to_come <= after.to_come + 1e-12
        assert before.cost < after.cost
    assert points[-1].of_log == pytest.approx(1)
    for share in (0.3, 0.8, 0.95):
        point = coverage.reaching(share)
        assert point.of_log >= share - 1e-12
        assert point.keys == 1 or coverage.at_keys(point.keys - 1).of_log < share


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_curve_is_drawn(log, tmp_path, ending, magic):
    coverage, path = Coverage(log), tmp_path / f"curve.{ending}"
    plot(coverage, path, chosen=coverage.reaching(0.9))
    assert path.read_bytes().startswith(magic)
    with pytest.raises(ConfigError, match=r"\.png or an \.svg"):
        plot(coverage, tmp_path / "curve.pdf")
