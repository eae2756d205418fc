"""The data pipeline on planted conversations: time and memory of each stage, recall, precision.

    python benchmarks/data.py [--rows 100000] [--seed 1] [--engine local|ray] [--processes N]
                              [--beside] [--ray] [--grown 10]

Every filter and near-duplicates are on. Wall seconds are of this machine as it was, CPU seconds
are of all processes together, and memory is the sum of their proportional shares (PSS), so that
shared pages count once. ``--beside`` finds the near-duplicates of the same rows by datasketch too,
``--ray`` makes the dataset again on a local Ray cluster and compares the ids, ``--grown`` makes
one of so many times the rows and compares time and memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import planted
import psutil
from rich.console import Console
from rich.table import Table

_EVERY = 0.2


class Meter:
    """Wall time, CPU time and peak memory of this process and its children, stage by stage."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self._cpu: dict[int, float] = {}
        self._stage, self._since, self._cpu_since = "", time.perf_counter(), 0.0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def enter(self, stage: str) -> None:
        """The stage before is over, this one begins."""
        self._sample()
        with self._lock:
            now, cpu = time.perf_counter(), sum(self._cpu.values())
            if self._stage:
                past = self._of(self._stage)
                past["wall"] += now - self._since
                past["cpu"] += cpu - self._cpu_since
            self._stage, self._since, self._cpu_since = stage, now, cpu

    def done(self) -> dict[str, dict[str, float]]:
        """What was measured."""
        self.enter("")
        self._over.set()
        self._thread.join()
        return self.stages

    def _of(self, stage: str) -> dict[str, float]:
        return self.stages.setdefault(stage, {"wall": 0.0, "cpu": 0.0, "peak": 0.0})

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            self._sample()

    def _sample(self) -> None:
        me = psutil.Process()
        memory = 0
        with self._lock:
            for process in (me, *me.children(recursive=True)):
                try:
                    used = process.cpu_times()
                    memory += process.memory_full_info().pss
                except psutil.Error:
                    continue
                self._cpu[process.pid] = used.user + used.system
            if self._stage:
                past = self._of(self._stage)
                past["peak"] = max(past["peak"], memory / 2**20)


def staged(meter: Meter) -> None:
    """Let the stages of the pipeline tell the meter when they begin."""
    from understudy.data import build, intake

    def entering(stage: str, plain: Callable[..., Any], then: str = "") -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            meter.enter(stage)
            made = plain(*given)
            if then:
                meter.enter(then)
            return made

        return call

    def working(plain: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def call(*given: Any) -> Iterator[Any]:
            meter.enter("clean, count, hash")
            yield from plain(*given)
            meter.enter("held-out set")

        return call

    intake.survey = entering("hash and cut", intake.survey)
    build.parts = working(build.parts)
    build.choose = entering("near-duplicates", build.choose, "write")


def make(path: Path, engine: str, processes: int | None, out: Any) -> None:
    """Make the dataset, and put what was measured and the dataset's folder to ``out``."""
    from understudy.data import prepare
    from understudy.data.engine import Engine
    from understudy.recipe import Cleaning, Source, Split

    meter = Meter()
    staged(meter)
    meter.enter("start")
    held_out = path.with_name(f"{path.name}.golden.jsonl")
    dataset = prepare(
        source=Source(kind="calls", path=path),
        cleaning=Cleaning(**planted.CLEANING, held_out=held_out),
        split=Split(),
        method="supervised",
        root=path.parent / engine,
        engine=Engine(name=engine, processes=processes),
    )
    out.put((meter.done(), dataset.id, str(dataset.path), dataset.kept, dict(dataset.rejected)))


def apart(work: Callable[..., None], *given: Any) -> Any:
    """What ``work`` puts out, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    process = context.Process(target=work, args=(*given, out))
    process.start()
    while True:
        try:
            found = out.get(timeout=1)
        except queue.Empty:
            if not process.is_alive():
                raise SystemExit(f"{work.__name__} ended with {process.exitcode}") from None
        else:
            process.join()
            return found


def conversations(path: Path) -> Iterator[str]:
    """What each row that has an answer says."""
    from understudy.data.near import normalised

    with path.open("rb") as file:
        for line in file:
            call = orjson.loads(line)
            if call["response"]:
                yield normalised([*call["messages"], call["response"]["message"]])


def ours(path: Path, out: Any) -> None:
    """Near-duplicates of all rows by this project, in one process: (CPU s, groups, peak MB)."""
    import numpy as np

    from understudy.data.near import clusters, signatures
    from understudy.recipe import NearDuplicates

    texts = list(conversations(path))
    near = NearDuplicates()
    signatures(["once"], near)
    before = time.process_time()
    found = np.concatenate(
        [signatures(texts[at : at + 2_000], near) for at in range(0, len(texts), 2_000)]
    )
    labels = clusters(found, near)
    took = time.process_time() - before
    out.put((took, len(texts), len(texts) - len(set(labels.tolist()))))


def theirs(path: Path, out: Any) -> None:
    """The same by datasketch: bulk MinHash, the same bands, the same verification."""
    from datasketch import MinHash, MinHashLSH

    texts = list(conversations(path))
    before = time.process_time()
    shingles = []
    for text in texts:
        words = text.split()
        grams = {" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))}
        shingles.append([gram.encode() for gram in grams])
    lsh = MinHashLSH(params=(32, 4), num_perm=128)
    parent = list(range(len(texts)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    hashes = list(MinHash.generator(shingles, num_perm=128, seed=1))
    for row, made in enumerate(hashes):
        for other in lsh.query(made):
            if made.jaccard(hashes[other]) >= 0.6:
                parent[root(row)] = root(other)
        lsh.insert(row, made, check_duplication=False)
    took = time.process_time() - before
    out.put((took, len(texts), sum(root(row) != row for row in range(len(texts)))))


def show_stages(title: str, rows: int, stages: dict[str, dict[str, float]]) -> None:
    """One table."""
    table = Table(title=title, title_justify="left")
    for name in ("stage", "wall s", "rows/s", "CPU s", "peak MB"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    whole = {
        "wall": sum(one["wall"] for one in stages.values()),
        "cpu": sum(one["cpu"] for one in stages.values()),
        "peak": max(one["peak"] for one in stages.values()),
    }
    for name, one in [*stages.items(), ("all", whole)]:
        rate = f"{rows / one['wall']:,.0f}" if one["wall"] else ""
        cells = [f"{one['wall']:.1f}", rate, f"{one['cpu']:.1f}", f"{one['peak']:,.0f}"]
        table.add_row(name, *cells)
    Console().print(table)


def show_truth(truth: dict[str, Any], folder: Path) -> None:
    """Recall and precision of every kind that was planted."""
    dropped = {}
    with (folder / "rejected.jsonl").open("rb") as file:
        for line in file:
            row = orjson.loads(line)
            dropped[row["line"]] = row["reason"]
    tested = set()
    with (folder / "test.jsonl").open("rb") as file:
        for line in file:
            tested.add(int(orjson.loads(line)["source_id"].removeprefix("talk-")))
    table = Table(title="what was planted, and what was found", title_justify="left")
    for name in ("kind", "rows", "recall", "precision"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for kind, rows, recall, precision in planted.judge(truth, dropped, tested):
        table.add_row(kind, f"{rows:,}", f"{recall:.4f}", f"{precision:.4f}")
    Console().print(table)


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--beside", action="store_true", help="datasketch on the same rows")
    parser.add_argument("--ray", action="store_true", help="the same on a local Ray cluster")
    parser.add_argument("--grown", type=int, default=0, help="also so many times the rows")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.jsonl"
        truth = planted.generate(path, options.rows, options.seed)
        made = apart(make, path, options.engine, options.processes)
        stages, name, place, kept, _ = made
        size = f"{path.stat().st_size / 1e6:,.0f} MB"
        load = f"load {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores"
        show_stages(
            f"{options.rows:,} conversations, {size}; {options.engine}; {kept:,} kept; {load}",
            options.rows,
            stages,
        )
        show_truth(truth, Path(place))
        if options.ray:
            again = apart(make, path, "ray", options.processes)
            show_stages("the same on a local Ray cluster", options.rows, again[0])
            print(f"dataset {name}; on Ray {again[1]}; identical: {again[1] == name}\n")
        if options.beside:
            beside(path)
        if options.grown:
            grown(Path(folder), options, stages)


def beside(path: Path) -> None:
    """Near-duplicates alone, in one process each."""
    table = Table(title="near-duplicates alone, one process each", title_justify="left")
    for name in ("what", "rows", "CPU s", "rows a CPU s", "x", "rows that leave"):
        table.add_column(name, justify="left" if name == "what" else "right")
    mine = apart(ours, path)
    for name, (took, rows, gone) in (("understudy", mine), ("datasketch", apart(theirs, path))):
        cells = [f"{rows:,}", f"{took:.1f}", f"{rows / took:,.0f}", f"{took / mine[0]:.1f}"]
        table.add_row(name, *cells, f"{gone:,}")
    Console().print(table)


def grown(folder: Path, options: argparse.Namespace, small: dict[str, dict[str, float]]) -> None:
    """Time and memory of so many times the rows."""
    path = folder / "grown.jsonl"
    rows = options.rows * options.grown
    planted.generate(path, rows, options.seed)
    stages = apart(make, path, options.engine, options.processes)[0]
    show_stages(f"{rows:,} conversations", rows, stages)
    for name in ("wall", "cpu"):
        before, after = (sum(one[name] for one in each.values()) for each in (small, stages))
        print(f"{name} seconds: {after / before:.1f} times those of {options.rows:,} rows")


if __name__ == "__main__":
    main()
