"""Exact matches of the default learner on the demo's JSON task, against a lookup; one table.

Trained on the teacher's answers (with their mistakes), judged against the true answers of the
rows whose whole answer never occurs in training.
"""

from __future__ import annotations

import time
from typing import Any

from understudy_sandbox.demo.calls import calls
from understudy_sandbox.learner import get_learner
from understudy_sandbox.learner.base import Settings
from understudy_sandbox.learner.rows import Answer, Sample, prompt_of


def usable(seed: int, count: int) -> list[tuple[Sample, str, str]]:
    """Rows worth training on, with the true answer and the conversation."""
    made, seen = [], set()
    for call in calls(seed, count):
        response: dict[str, Any] | None = call["response"]
        query = call["messages"][-1]["content"]
        if not response or response["finish_reason"] != "stop" or call.get("flags"):
            continue
        if not response["message"]["content"] or query in seen:
            continue
        seen.add(query)
        answer = Answer(content=response["message"]["content"])
        sample = Sample(prompt=prompt_of(call["messages"]), answer=answer)
        made.append((sample, call["reference"], call["conversation_id"]))
    return made


def measured(seed: int, count: int) -> dict[str, float]:
    rows = usable(seed, count)
    held = {c for i, c in enumerate(dict.fromkeys(r[2] for r in rows)) if i % 5 == 0}
    train = [r[0] for r in rows if r[2] not in held]
    test = [r for r in rows if r[2] in held]
    known = {s.answer.content for s in train}
    began = time.perf_counter()
    model = get_learner("default").fit(train, [], Settings(epochs=3, seed=seed), lambda _: None)
    fitted = time.perf_counter()
    answers = model.answer_many([r[0].prompt for r in test])
    asked = time.perf_counter()
    new = [i for i, r in enumerate(test) if r[1] not in known]
    nearest = lookup(train, [test[i][0] for i in new])
    return {
        "train": len(train),
        "test": len(test),
        "all": sum(a.content == r[1] for a, r in zip(answers, test, strict=True)) / len(test),
        "unseen": len(new),
        "unseen_exact": sum(answers[i].content == test[i][1] for i in new) / len(new),
        "lookup_exact": sum(n == test[i][1] for n, i in zip(nearest, new, strict=True)) / len(new),
        "fit_s": fitted - began,
        "per_s": len(test) / (asked - fitted),
    }


def lookup(train: list[Sample], asked: list[Sample]) -> list[str | None]:
    """The answer of the nearest training question (TF-IDF of words, cosine)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer()
    known = words.fit_transform([s.prompt.text for s in train])
    best = (words.transform([s.prompt.text for s in asked]) @ known.T).toarray().argmax(axis=1)
    return [train[i].answer.content for i in best]


def main() -> None:
    columns = (
        "seed",
        "train",
        "test",
        "exact",
        "unseen",
        "exact there",
        "lookup",
        "fit s",
        "rows/s",
    )
    print("| " + " | ".join(columns) + " |")
    print("| ---: " * len(columns) + "|")
    for seed in (7, 8, 9):
        m = measured(seed, 1600)
        print(
            f"| {seed} | {m['train']} | {m['test']} | {m['all']:.3f} | {m['unseen']} "
            f"| {m['unseen_exact']:.3f} | {m['lookup_exact']:.3f} | {m['fit_s']:.2f} "
            f"| {m['per_s']:,.0f} |"
        )


if __name__ == "__main__":
    main()
