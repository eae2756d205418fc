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
from understudy.cache.cascade import Cascade, CascadeResult, CascadeRule, Hop
from understudy.cache.live import LiveModel, Trouble
from understudy.cache.opening import open_cache, open_configured
from understudy.cache.options import CacheOptions
from understudy.cache.values import Refusal, pack_refusal, pack_reply, unpack

__all__ = [
    "CacheOptions",
    "CacheStats",
    "CacheStore",
    "CacheView",
    "Cascade",
    "CascadeResult",
    "CascadeRule",
    "Generation",
    "GenerationState",
    "GenerationSwitched",
    "GenerationWriter",
    "Hop",
    "LiveModel",
    "Refusal",
    "TailRow",
    "Trouble",
    "key_of",
    "open_cache",
    "open_configured",
    "pack_refusal",
    "pack_reply",
    "unpack",
]
