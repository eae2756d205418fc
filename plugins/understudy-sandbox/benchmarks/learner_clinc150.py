"""Accuracy and speed of the default learner on CLINC150's own splits; prints one table.

Run: python plugins/understudy-sandbox/benchmarks/learner_clinc150.py [PATH/data_full.json]
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from understudy_sandbox.learner import get_learner
from understudy_sandbox.learner.base import Settings
from understudy_sandbox.learner.rows import Sample, sample_of

HERE = Path(__file__).resolve()
DEFAULT = HERE.parents[4] / "shared" / "datasets" / "clinc150" / "data_full.json"
SYSTEM = "Classify the request of a customer. Answer with the intent alone."
SIZES = (100, 1000, 5000)
SEEDS = (0, 1, 2)


def chat_row(utterance: str, intent: str) -> Sample:
    return sample_of(
        {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": utterance},
                {"role": "assistant", "content": intent},
            ]
        }
    )


def measured(data: dict[str, list[list[str]]], size: int, seed: int) -> tuple[float, float, float]:
    """Accuracy on the in-scope test rows, seconds to fit, answers a second."""
    rows = [chat_row(*row) for row in random.Random(seed).sample(data["train"], size)]
    test = [chat_row(*row) for row in data["test"]]
    began = time.perf_counter()
    settings = Settings(epochs=3, seed=seed)
    model = get_learner("default").fit(rows, [], settings, lambda _: None)
    fitted = time.perf_counter()
    answers = model.answer_many([s.prompt for s in test])
    done = time.perf_counter()
    right = sum(a.content == s.answer.content for a, s in zip(answers, test, strict=True))
    return right / len(test), fitted - began, len(test) / (done - fitted)


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    if not path.exists():
        print(f"Not measured: the dataset is not here ({path.name}); give its path.")
        return
    data = json.loads(path.read_bytes())
    print("| training rows | seed | accuracy on 4,500 | fit s | answers/s |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for size in SIZES:
        for seed in SEEDS:
            accuracy, seconds, rate = measured(data, size, seed)
            print(f"| {size} | {seed} | {accuracy:.3f} | {seconds:.2f} | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
