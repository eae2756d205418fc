"""examples/query_understanding, step by step and in small."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import Shop

EXAMPLE = Path(__file__).parents[3] / "examples/query_understanding"


def script(shop: Shop, *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, *argv], cwd=shop.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_a_log_to_answers_from_the_cache(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", shop.sandbox.url)
    monkeypatch.setenv("OPENAI_API_KEY", shop.sandbox.api_key)
    for path in EXAMPLE.glob("*.*"):
        shutil.copy(path, shop.folder)
    script(shop, "traffic.py", "800", "7")
    assert shop.call("run", "student.toml").code == 0
    planned = shop.call(
        "cache", "plan", "log.jsonl", "--target-coverage", "80%", "--out", "head.jsonl"
    )
    assert planned.code == 0, planned.err
    head = (shop.folder / "head.jsonl").read_text().splitlines()
    distinct = len(set((shop.folder / "log.jsonl").read_text().splitlines()))
    assert 0 < len(head) < distinct
    figures = shop.call("precompute", "precompute.toml", "--dry-run", "--json").json
    assert figures["asked"] == len(head)
    done = shop.call("precompute", "precompute.toml", "--json")
    assert done.code == 0, done.err
    report = done.json
    assert report["result"]["coverage"] == 1.0
    assert report["result"]["sample"]["agreement"] == 1.0
    assert float(report["result"]["saved"]["against_teacher_usd"]) > 0
    served = json.loads(script(shop, "serve.py"))
    # The head was picked to cover 80 % of the log; today is like yesterday, a little less known.
    assert served["queries"] == 200
    assert served["hit_rate"] > 0.6
    assert float(served["live_usd_per_thousand"]) < float(served["teacher_usd_per_thousand"]) / 10
    # What was asked live is in the tail now: today's queries again are all answered from there.
    again = json.loads(script(shop, "serve.py"))
    assert (again["hit_rate"], again["asked_live"]) == (1.0, 0)
