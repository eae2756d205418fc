from __future__ import annotations

from pathlib import Path

import pytest

from understudy.cli.app import run
from understudy.cli.exit_codes import ExitCode
from understudy_sandbox.demo.calls import write_calls

# An id that changes makes everybody's runs train and pay again: change it on purpose only.
DATASET = (
    "Dataset ds-e2780b5a4bd93d4892f7e116: 337 of 400 rows kept (train 269, validation 34, "
    "test 34); dropped duplicate 27, flagged 13, error 9, incomplete 9, truncated 5"
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UNDERSTUDY_CONFIG", "UNDERSTUDY_STORE", "UNDERSTUDY_CLOCK", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    write_calls(tmp_path / "calls.jsonl", 3, 400)


def test_the_recipe_that_init_writes_is_estimated_as_it_stands_without_a_key(capsys):
    assert run(["init"]) == ExitCode.OK
    capsys.readouterr()
    assert run(["estimate", "recipe.toml", "--offline"]) == ExitCode.OK
    said = capsys.readouterr()
    dataset, _, training, student, base, together, *notes = said.out.splitlines()
    assert dataset == DATASET
    assert training.split("\t") == [
        "training, 3 epochs",
        "gpt-4.1-mini-2025-04-14",
        "92,001",
        "$5.00 a million",
        "$0.4600",
        "$0.6133",
    ]
    assert student.startswith("evaluation, student, 34 rows\tft:gpt-4.1-mini-2025-04-14\t3,756\t")
    assert base.startswith("evaluation, base, 34 rows\tgpt-4.1-mini-2025-04-14\t3,756\t")
    assert together.startswith("together\t")
    assert "n_epochs is auto: 3 by the provider's published rule; set it to be sure" in notes[0]
    assert said.err == "rows read: 400\n"


PRICES = """
[[sheet]]
provider = "openai"
as_of = 2026-11-01
source = "our own bill"
confidence = "listed"
training = [{ models = ["house-8b"], usd_per_million = "0.5" }]
inference = [
  { models = ["house-8b"], fine_tuned = true, input = "0.1", cached = "0.1", output = "0.2" },
  { models = ["house-8b"], fine_tuned = false, input = "0.1", cached = "0.1", output = "0.2" },
]
"""


def test_a_server_of_ones_own_is_priced_by_a_file_of_ones_own(capsys, tmp_path):
    run(["init"])
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("gpt-4.1-mini-2025-04-14", "house-8b"))
    assert run(["estimate", "recipe.toml", "--offline"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "no price is known for the training of 'house-8b'" in said
    assert "[costs] price_tables of understudy.toml" in said
    (tmp_path / "understudy.toml").write_text('[costs]\nprice_tables = ["prices.toml"]\n')
    assert run(["estimate", "recipe.toml", "--offline"]) == ExitCode.USAGE
    assert "prices.toml: cannot be read (No such file" in capsys.readouterr().err
    (tmp_path / "prices.toml").write_text(PRICES)
    assert run(["estimate", "recipe.toml", "--offline"]) == ExitCode.OK
    training = capsys.readouterr().out.splitlines()[2].split("\t")
    assert training[1:5] == ["house-8b", "92,001", "$0.50 a million", "$0.0460"]
