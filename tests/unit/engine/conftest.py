from __future__ import annotations

import pytest
from deploy_kit import Place
from engine_kit import DeployingKitBackend, World, make_dataset

from understudy.data import Dataset
from understudy.store import Store


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def world(store: Store, dataset: Dataset) -> World:
    return World(store, dataset)


@pytest.fixture
def place(store: Store, dataset: Dataset) -> Place:
    return Place(store, dataset, cls=DeployingKitBackend)
