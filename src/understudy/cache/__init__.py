"""Precomputed answers by generation: stores, the writer of a generation, and the cascade."""

from understudy.cache.base import (
    CacheStats,
    CacheStore,
    CacheView,
    Generation,
    GenerationState,
    GenerationSwitched,
    GenerationWriter,
    TailRow,
    key_of,
)
from understudy.cache.values import Refusal, pack_refusal, pack_reply, unpack

__all__ = [
    "CacheStats",
    "CacheStore",
    "CacheView",
    "Generation",
    "GenerationState",
    "GenerationSwitched",
    "GenerationWriter",
    "Refusal",
    "TailRow",
    "key_of",
    "pack_refusal",
    "pack_reply",
    "unpack",
]
