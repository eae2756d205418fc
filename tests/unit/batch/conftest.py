from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from batch_kit import Desk
from fault_kit import Provider


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    made = Provider(tmp_path_factory.mktemp("batch-sandbox"))
    with made.sandbox:
        yield made


@pytest.fixture
def make_desk(
    asked: Provider, sqlite_template: Path, tmp_path: Path
) -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def make(**options: Any) -> Desk:
        path = tmp_path / "understudy.db"
        if not path.exists():
            shutil.copy(sqlite_template, path)
        made.append(Desk(asked, tmp_path, f"sqlite:///{path}", **options))
        return made[-1]

    yield make
    for desk in made:
        desk.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()
