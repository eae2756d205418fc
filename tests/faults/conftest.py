from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_kit import Bench, Provider


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    made = Provider(tmp_path_factory.mktemp("sandbox"))
    with made.sandbox:
        yield made


@pytest.fixture
def bench(provider: Provider, sqlite_template: Path, tmp_path: Path) -> Iterator[Bench]:
    path = tmp_path / "understudy.db"
    shutil.copy(sqlite_template, path)
    made = Bench(provider, tmp_path, f"sqlite:///{path}")
    yield made
    made.close()
