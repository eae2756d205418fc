"""Validation and token counting: rows a second and peak memory of ``prepare()``.

The rows are generated from a seed, about 300 words each. Each measurement runs in a process of
its own, so that its peak memory is its own. The second line is the floor: the same file read
and parsed by orjson, nothing else.

    python benchmarks/validation_speed.py [--rows 100000] [--seed 1] [--made-up] [--big-line-gb 0]

``--made-up`` takes invented words, which cost a tokenizer about twice as much as English ones.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from understudy.data import prepare
from understudy.recipe import Cleaning, Source, Split

_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "en", "ing", "or")]
_ENGLISH = """
a about account after again all also am an and another any are around as ask at available back bag
be because been before best better bill box bring broken but buy by call can cancel card case
change charge charged check city clear close code colour come confirm contact could courier
credit customer damaged date day deliver delivered delivery did different do does done door down
driver each early email empty error evening every exchange expected find first fix for form found
friday from full get gift give go good got great had half has have he help her here him his home
hope hour how i if in inside into invoice is it item just keep know label last late leave left
less let letter like link little long look lost made make many may me mean message missing monday
money more morning most much must my name need neighbour never new next nice no not nothing now
number of off offer office okay old on once one online only open option or order other our out
over package paid paper parcel part pay payment people phone picture place please point post price
problem product question quick quite rather read ready really reason receipt receive refund reply
report request response return right said same saturday say second see seem send sent service she
shipment shop should show side sign since size small so some somebody something soon sorry status
still stop store street such support sure take tell than thank that the their them then there
these they thing think this those though thursday time to today together told tomorrow tonight too
tracking try tuesday two under until up update us use very voucher wait want warehouse was way we
wednesday week well went were what when where which while white who why will window with without
word work would write wrong year yes yesterday yet you your
""".split()  # noqa: SIM905 - a word list reads best as text
_WORDS_A_ROW = 300


def vocabulary(dice: random.Random, *, made_up: bool) -> list[str]:
    """Words to write with: English ones and numbers, or 5,000 that nobody ever used."""
    if made_up:
        return ["".join(dice.choices(_SYLLABLES, k=dice.randint(1, 3))) for _ in range(5_000)]
    numbers = [f"{dice.randint(100, 99_999)}" for _ in range(20)]
    marked = [f"{word}{mark}" for mark in ",.?" for word in dice.sample(_ENGLISH, 20)]
    return [*_ENGLISH, *marked, *numbers]


def generate(path: Path, rows: int, seed: int, *, made_up: bool = False) -> None:
    """Write ``rows`` logged calls; a few in a hundred are cut off, flagged, repeated or broken."""
    dice = random.Random(seed)
    words = vocabulary(dice, made_up=made_up)

    def text(count: int) -> str:
        return " ".join(dice.choices(words, k=count)).capitalize() + "."

    system = {"role": "system", "content": text(40)}
    last = b""
    with path.open("wb") as file:
        for number in range(rows):
            kind = dice.random()
            messages = [system]
            for _ in range(2):
                messages.append({"role": "user", "content": text(60)})
                messages.append({"role": "assistant", "content": text(50)})
            messages.append({"role": "user", "content": text(20)})
            call = {
                "id": f"call-{number}",
                "conversation_id": f"talk-{number // 3}",
                "messages": messages,
                "response": {
                    "message": {"role": "assistant", "content": text(_WORDS_A_ROW - 280)},
                    "finish_reason": "length" if kind < 0.02 else "stop",
                },
                "flags": ["hallucination"] if 0.02 < kind < 0.04 else [],
            }
            line = orjson.dumps(call, option=orjson.OPT_APPEND_NEWLINE)
            if 0.04 < kind < 0.05:
                line = line[:200] + b"\n"
            elif 0.05 < kind < 0.06 and last:
                line = last
            file.write(line)
            last = line


def big_line(path: Path, size: int, around: Path) -> None:
    """A good file with one line of ``size`` bytes before it."""
    with path.open("wb") as file:
        chunk = b"x" * (1 << 20)
        for _ in range(size >> 20):
            file.write(chunk)
        file.write(b"\n")
        with around.open("rb") as good:
            while block := good.read(1 << 20):
                file.write(block)


def parse_only(path: Path) -> tuple[int, int]:
    """The floor: (lines, lines that parse)."""
    lines = good = 0
    with path.open("rb") as file:
        for line in file:
            lines += 1
            try:
                orjson.loads(line)
                good += 1
            except orjson.JSONDecodeError:
                pass
    return lines, good


def full(path: Path) -> tuple[int, int]:
    """The whole of ``prepare``: (lines, rows kept)."""
    with tempfile.TemporaryDirectory() as root:
        made = prepare(
            source=Source(kind="calls", path=path),
            cleaning=Cleaning(),
            split=Split(),
            method="supervised",
            root=Path(root),
            max_row_tokens=65_536,
        )
    return made.lines, made.kept


def _child(work: Callable[[Path], tuple[int, int]], path: Path, out: object) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    lines, kept = work(path)
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out.put((lines, kept, took, cpu, peak))  # type: ignore[attr-defined]


def measure(
    work: Callable[[Path], tuple[int, int]], path: Path
) -> tuple[int, int, float, float, float]:
    """(lines, kept, wall seconds, CPU seconds, peak MB) of ``work`` in a fresh process."""
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    process = context.Process(target=_child, args=(work, path, out))
    process.start()
    found = out.get()
    process.join()
    return found  # type: ignore[no-any-return]


def main() -> None:
    """Generate, measure, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--made-up", action="store_true", help="invented words")
    parser.add_argument("--big-line-gb", type=float, default=0, help="also with a line that long")
    options = parser.parse_args()
    kind = "made-up" if options.made_up else "English"
    title = f"{options.rows:,} rows of about {_WORDS_A_ROW} {kind} words, seed {options.seed}"
    table = Table(title=title)
    for name in ("what", "lines", "kept", "rows/s", "CPU s", "peak MB", "x parse"):
        table.add_column(name, justify="left" if name == "what" else "right")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.jsonl"
        generate(path, options.rows, options.seed, made_up=options.made_up)
        floor = measure(parse_only, path)
        runs = [("orjson parse only", floor), ("prepare", measure(full, path))]
        if options.big_line_gb:
            worse = Path(folder) / "big.jsonl"
            big_line(worse, int(options.big_line_gb * (1 << 30)), path)
            runs.append((f"prepare, a {options.big_line_gb:g} GB line", measure(full, worse)))
    for name, (lines, kept, wall, cpu, peak) in runs:
        cells = [f"{lines:,}", f"{kept:,}", f"{lines / wall:,.0f}", f"{cpu:.1f}", f"{peak:.0f}"]
        table.add_row(name, *cells, f"{wall / floor[2]:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
