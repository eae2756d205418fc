from __future__ import annotations

import pytest
from engine_kit import World, make_dataset

from understudy.data import Dataset
from understudy.store import Store


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def world(store: Store, dataset: Dataset) -> World:
    return World(store, dataset)
