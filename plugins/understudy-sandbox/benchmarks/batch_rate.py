"""How fast the sandbox answers batches: a fine-tune's, all inputs different, on one core.

``python benchmarks/batch_rate.py [ROWS]``; a row is a short question with a system message. CPU
seconds are counted, so that other work on the machine matters less.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from understudy_sandbox import chat
from understudy_sandbox.batchanswer import Answering
from understudy_sandbox.batchfile import CheckedBatch, check_batch
from understudy_sandbox.batchresults import deliver
from understudy_sandbox.learner.base import Settings
from understudy_sandbox.learner.rows import Answer, Prompt, Sample
from understudy_sandbox.learner.small import SmallLearner, SmallModel

LABELS, WORDS, ROUNDS = 20, 8_000, 5
URL = "/v1/chat/completions"
SYSTEM = "Classify the query into one of the known labels and answer with the label alone."


def questions(count: int, seed: int) -> list[str]:
    """Four to nine words each, some far more frequent than others."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("bcdfgklmnprstaeiou", k=rng.randint(2, 8))) for _ in range(WORDS)]
    often = [min(WORDS - 1, int(rng.paretovariate(0.8)) - 1) for _ in range(200_000)]
    return [
        " ".join([words[i % LABELS], *(words[w] for w in rng.choices(often, k=rng.randint(4, 9)))])
        for i in range(count)
    ]


def fitted() -> SmallModel:
    """A student of 2,000 rows."""
    samples = [
        Sample(
            prompt=Prompt(text=text, system=SYSTEM), answer=Answer(content=f"label_{i % LABELS}")
        )
        for i, text in enumerate(questions(2_000, 1))
    ]
    return SmallLearner().fit(samples, [], Settings(epochs=2, seed=1), lambda _: None)


def write(path: Path, count: int) -> None:
    """The input file."""
    with path.open("wb") as file:
        for i, text in enumerate(questions(count, 1)):
            messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
            body = {"model": "ft:m", "messages": messages, "temperature": 0, "max_tokens": 16}
            row = {"custom_id": f"{i:064x}", "method": "POST", "url": URL, "body": body}
            file.write(orjson.dumps(row) + b"\n")


def main() -> None:
    """Print one table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    model = fitted()
    chat.spec_of = lambda stored: stored  # type: ignore[assignment]
    fits: Any = SimpleNamespace(fitted=lambda _: (model, []))
    resolved: Any = SimpleNamespace(tuned={"fit": None}, name="ft:m")
    print("| check rows/s | answer rows/s | all rows/s | peak MB |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.jsonl"
        write(source, count)
        for _ in range(ROUNDS):
            begin = time.thread_time()
            checked = check_batch(source, [URL], most=count, most_bytes=10**12)
            assert isinstance(checked, CheckedBatch)
            middle = time.thread_time()
            results = Answering(fits, resolved, 1).file(source, Path(folder), checked.tokens)
            made = deliver(results, Path(folder), None)
            end = time.thread_time()
            assert made.completed == count
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            rates = (count / span for span in (middle - begin, end - middle, end - begin))
            print("|", " | ".join(f"{rate:,.0f}" for rate in rates), f"| {peak} |")


if __name__ == "__main__":
    main()
