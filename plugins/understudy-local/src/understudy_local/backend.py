"""The backend: training, and what export and serving add to it."""

from __future__ import annotations

from typing import Any, ClassVar

from understudy import backend as contract
from understudy_local.params import LocalParams
from understudy_local.settings import LocalSettings
from understudy_local.training import Training

__all__ = ["LocalBackend"]


class LocalBackend(Training):
    """This machine as a fine-tuning backend."""

    Params: ClassVar[type[contract.Params]] = LocalParams
    Settings: ClassVar[type[contract.Settings]] = LocalSettings
    settings: Any
