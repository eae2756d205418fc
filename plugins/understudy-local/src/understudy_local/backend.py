"""The backend: training, and what export and serving add to it."""

from __future__ import annotations

from typing import Any, ClassVar

from understudy import backend as contract
from understudy_local.export.exporting import Exporting
from understudy_local.params import LocalParams
from understudy_local.serving.batches import Batching
from understudy_local.serving.infer import Answering
from understudy_local.settings import LocalSettings
from understudy_local.training import Training

__all__ = ["LocalBackend"]


class LocalBackend(Exporting, Answering, Batching, Training):
    """This machine as a fine-tuning backend: trains, exports, answers."""

    Params: ClassVar[type[contract.Params]] = LocalParams
    Settings: ClassVar[type[contract.Settings]] = LocalSettings
    settings: Any
