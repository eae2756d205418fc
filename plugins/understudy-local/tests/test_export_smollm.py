"""The trained SmolLM2 exported: every file held against it, loaded, and answering."""

from __future__ import annotations

from pathlib import Path

import pytest

from export_kit import ended, no_servers_left
from smollm_kit import Smollm, scored, trained
from understudy.evaluate.statistics import mean_interval
from understudy.model import ChatRequest, ExportSpec, ModelExport, RemoteState

ROWS = 12
FORMATS = ("f16", "q8_0", "q4_k_m")

# In make prove until its share of `make test` is measured on a quiet machine.
pytestmark = [pytest.mark.prove, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def smollm(smollm_place: Path) -> Smollm:
    for package in ("cyllama", "xllamacpp", "sentencepiece"):
        pytest.importorskip(package, reason="needs understudy-local[gguf]")
    return trained(smollm_place)


@pytest.fixture(scope="module")
def exported(smollm: Smollm) -> tuple[ModelExport, dict[str, list[str]]]:
    """What the export made, and the answers of the trained model and of each file."""
    backend = smollm.backend(offline=False)
    spec = ExportSpec(
        model=smollm.model,
        base_model="smollm2-135m",
        name="shop-queries",
        formats=FORMATS,
        serve="q4_k_m",
        held_out=str(smollm.held_out),
        held_out_sha256=smollm.sha256,
        rows=ROWS,
        max_output_tokens=64,
    )
    with no_servers_left(smollm.home):
        handle = backend.start_export(spec, key="acceptance")
        status = ended(backend, handle, seconds=600)
        assert status.state is RemoteState.SUCCEEDED, status.problem
    answers = {
        source: list(backend.export_answers(handle, source)) for source in ("trained", *FORMATS)
    }
    return backend.exported(handle), answers


def figures(made: ModelExport) -> dict[str, dict[str, float]]:
    return {one.format: dict(one.measures) for one in made.files if one.answers}


def test_the_files_are_the_trained_model(exported, smollm, capsys):
    made, answers = exported
    from smollm_kit import rows

    labels = [row["label"] for row in rows()[1][:ROWS]]
    scores = {
        source: mean_interval([scored(*pair) for pair in zip(said, labels, strict=True)], 0.95)
        for source, said in answers.items()
    }
    found = figures(made)
    with capsys.disabled():
        print(f"\n{'':8} {'score':22} {'KL':>8} {'top-1':>6} perplexity")  # noqa: T201
        for source, score in scores.items():
            told = found.get(source, {})
            row = f"{source:8} {score.mean:.3f} [{score.low:.3f}, {score.high:.3f}]  "
            if told:
                row += f"{told['kl']:8.2g} {told['top1']:6.3f} {told['perplexity']:.3f}"
                row += f" (trained {told['trained_perplexity']:.3f})"
            print(row)  # noqa: T201 - the table of the acceptance
    assert found["f16"]["kl"] <= 1e-3
    assert found["f16"]["top1"] >= 0.99
    assert found["q8_0"]["perplexity"] <= 1.06 * found["q8_0"]["trained_perplexity"]
    assert scores["trained"].mean >= 0.5
    assert scores["q4_k_m"].high >= scores["trained"].mean
    assert scores["f16"].mean == pytest.approx(scores["trained"].mean, abs=0.1)


def test_the_smaller_formats_are_smaller(exported):
    sizes = {one.format: one.bytes for one in exported[0].files}
    assert sizes["f16"] > 1.8 * sizes["q8_0"] > 1.8 * 1.2 * sizes["q4_k_m"]


def test_what_was_registered_answers(exported, smollm):
    made, _ = exported
    assert made.model == f"{smollm.model}:q4_k_m"
    question = {"role": "user", "content": "red sneakers by Norwick under $80 in Marport"}
    request = ChatRequest(
        model=made.model, messages=(question,), sampling={"temperature": 0, "max_tokens": 64}
    )
    with no_servers_left(smollm.home):
        reply = smollm.backend().complete(request, timeout=60)
    assert reply.text.startswith("{")
    assert reply.finish_reason == "stop", "it knows where an answer ends"
