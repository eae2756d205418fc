"""The bundled student learns the project's own task: supervised, in about 25 steps, on a CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from smollm_kit import Smollm, rows, scored, trained
from understudy.evaluate.statistics import mean_interval, paired_difference
from understudy_local import artifacts

HELD_OUT = 30
LONGEST = 64

pytestmark = [
    pytest.mark.prove,  # until its share of `make test` is measured on a quiet machine
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def smollm(smollm_place: Path) -> Smollm:
    return trained(smollm_place)


def scores(base: Path, adapter: Path | None) -> list[float]:
    """What the student answers to held-out rows, scored by the share of right fields."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(os.fspath(base), padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(os.fspath(base), dtype=torch.float32)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, os.fspath(adapter)).merge_and_unload()
    asked = rows()[1][:HELD_OUT]
    texts = [
        tokenizer.apply_chat_template(row["messages"], tokenize=False, add_generation_prompt=True)
        for row in asked
    ]
    given = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.inference_mode():
        made = model.generate(**given, max_new_tokens=LONGEST, do_sample=False)
    answers = tokenizer.batch_decode(
        made[:, given["input_ids"].shape[1] :], skip_special_tokens=True
    )
    return [scored(text, row["label"]) for text, row in zip(answers, asked, strict=True)]


def test_the_loss_falls(smollm):
    assert len(smollm.losses) == 25
    assert sum(smollm.losses[-5:]) / 5 < smollm.losses[0] / 5


def test_it_learns_the_task(smollm, capsys):
    found = artifacts.trained(artifacts.Home(smollm.home), smollm.model)
    before, after = scores(found.base, None), scores(found.base, found.adapter)
    gain, level = paired_difference(after, before, 0.95), mean_interval(after, 0.95)
    with capsys.disabled():
        print(  # noqa: T201 - the figures of the acceptance
            f"\nSmolLM2-135M on {HELD_OUT} held-out rows: untrained {sum(before) / HELD_OUT:.3f}, "
            f"trained {level.mean:.3f} [{level.low:.3f}, {level.high:.3f}]"
        )
    assert gain.mean >= 0.5
    assert level.low >= 0.3


def test_the_estimate_holds_the_peak(smollm):
    from understudy_local import estimate
    from understudy_local.jobfile import read_order
    from understudy_local.students import students

    folder = artifacts.Home(smollm.home).job(smollm.handle.id)
    outcome, prepared = (
        artifacts.read_json(path) for path in (folder.outcome, folder.rows / "train.json")
    )
    peak = outcome["metrics"]["peak_memory_bytes"]
    need = estimate.memory(
        students()["smollm2-135m"].shape,
        read_order(folder).params,
        method="supervised",
        longest=prepared["longest"],
        kind="cpu",
    )
    # It must not promise too little; twice too much would refuse what works.
    assert 0.95 * peak < need.total < 2 * peak
