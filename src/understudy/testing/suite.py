"""``BackendSuite``: the whole contract of ``understudy.backend`` as tests."""

from __future__ import annotations

import pytest

from understudy.testing._batch import BatchTests
from understudy.testing._create import CreateTests, ShapeTests
from understudy.testing._deploy import DeployTests
from understudy.testing._export import ExportTests
from understudy.testing._poll import PollTests, TraitTests
from understudy.testing._secrets import SecretTests

__all__ = ["BackendSuite"]


@pytest.mark.understudy_contract
class BackendSuite(
    ShapeTests,
    CreateTests,
    PollTests,
    TraitTests,
    DeployTests,
    ExportTests,
    BatchTests,
    SecretTests,
):
    """Subclass it as ``Test...`` and give the fixture ``provider`` (and ``backend``).

    Each test has a provider of its own, without jobs and files. What the backend says that it
    cannot do is skipped with the backend's own reason.
    """
