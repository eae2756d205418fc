from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from understudy_sandbox.learner import get_learner
from understudy_sandbox.learner.base import Settings
from understudy_sandbox.learner.rows import Answer, Prompt, Sample

DATA = Path(__file__).parents[4] / "shared" / "datasets" / "clinc150" / "data_full.json"


@pytest.mark.skipif(not DATA.exists(), reason=f"the shared data set is not at {DATA}")
@pytest.mark.parametrize(("size", "bar"), [(100, 0.15), (1000, 0.60)])
def test_accuracy_on_clinc150(size, bar) -> None:
    data = json.loads(DATA.read_bytes())
    rows = [
        Sample(prompt=Prompt(text=text), answer=Answer(content=intent))
        for text, intent in random.Random(0).sample(data["train"], size)
    ]
    settings = Settings(epochs=1, seed=0)
    model = get_learner("default").fit(rows, [], settings, lambda _: None)
    said = model.answer_many([Prompt(text=text) for text, _ in data["test"]])
    right = sum(a.content == label for a, (_, label) in zip(said, data["test"], strict=True))
    assert right / len(said) >= bar
