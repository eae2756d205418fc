"""Opening a store by its URL: the core's own, or one that a plugin brings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from understudy.cache.base import CacheStore
from understudy.cache.options import CacheOptions
from understudy.config import shown_url
from understudy.errors import ConfigError
from understudy.hookspecs import CacheStoreSpec
from understudy.plugins import import_target
from understudy.validation import nearest

if TYPE_CHECKING:
    from understudy.config import Config
    from understudy.plugins import PluginHost

__all__ = ["BUILTIN", "open_cache", "open_configured"]


def _own(scheme: str, target: str, told: str) -> CacheStoreSpec:
    return CacheStoreSpec(name=scheme, target=f"understudy.cache.{target}", help=told)


BUILTIN = (
    _own("sqlite", "sqlite:open_sqlite", "Files in a folder: sqlite:///folder."),
    _own("redis", "redis:open_redis", "Redis: redis://host:6379/0."),
    _own("rediss", "redis:open_redis", "Redis over TLS: rediss://host:6380/0."),
    _own("unix", "redis:open_redis", "Redis on a socket: unix:///path/to/socket?db=0."),
    _own("postgresql", "postgres:open_postgres", "PostgreSQL: postgresql://host/database."),
)
"""Stores of the core, by URL scheme."""


def open_cache(
    url: str | Path,
    options: CacheOptions | None = None,
    *,
    plugins: Iterable[CacheStoreSpec] = (),
) -> CacheStore:
    """The store at ``url``; a path is a folder of the embedded store.

    Args:
        url: where it is.
        options: clock, compression and limits.
        plugins: stores that plugins bring (``PluginHost.cache_stores``).

    Raises:
        ConfigError: no store has that scheme, or the URL is not one of its.
        PluginLoadError: what it needs is not installed.
    """
    from understudy.cache.sqlite import SqliteCache

    if isinstance(url, Path):
        return SqliteCache(url, options)
    specs = {spec.name: spec for spec in (*plugins, *BUILTIN)}
    scheme = urlsplit(url).scheme
    if scheme not in specs:
        raise ConfigError(
            f"{shown_url(url)}: there is no cache store for {scheme!r}: {nearest(scheme, specs)}"
        )
    spec = specs[scheme]
    opened: Callable[[str, CacheOptions], CacheStore] = import_target(
        spec.target, what=f"cache store {scheme!r}", install=spec.install
    )
    return opened(url, options or CacheOptions())


def open_configured(config: Config, host: PluginHost) -> CacheStore:
    """The store that ``[cache]`` of understudy.toml describes.

    Raises:
        ConfigError, PluginLoadError: as ``open_cache``.
    """
    settings = config.cache
    options = CacheOptions(
        clock=config.clock,
        compress=settings.compress,
        max_value_bytes=settings.max_value_bytes,
        max_generation_bytes=settings.max_generation_bytes,
        max_tail_bytes=settings.max_tail_bytes,
    )
    return open_cache(
        settings.url.get_secret_value(), options, plugins=host.cache_stores().values()
    )
