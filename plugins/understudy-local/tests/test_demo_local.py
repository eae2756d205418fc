"""``understudy demo --local``: the whole main job on an open student."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from export_kit import no_servers_left


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_the_main_job_on_this_machine_alone(tmp_path: Path) -> None:
    for package in ("trl", "cyllama", "xllamacpp"):
        pytest.importorskip(package, reason="needs understudy-local[train,gguf]")
    with no_servers_left(tmp_path / "demo" / "local"):
        done = subprocess.run(
            [sys.executable, "-m", "understudy.cli", "demo", "--local", "--folder", "demo"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout + done.stderr
    assert "points at shop-queries-local@1" in told
    student, base = (
        float(re.search(rf"json_f1: {who}\s+([\d.]+)", told)[1])  # type: ignore[index]
        for who in ("student", "base model")
    )
    assert student - base >= 0.5
    answer = json.loads(told[told.index("-> {") + 3 :].splitlines()[0])
    assert set(answer) == {"intent", "category", "brand", "color", "max_price", "city"}
