"""One project: its settings, plugins, store and engine, opened once and handed around."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Self

from understudy.backend import Backend, Capabilities
from understudy.batch.kinds import batch_answerer, kinds
from understudy.cache import CacheStore, open_configured
from understudy.config import Config, load_config
from understudy.costs.prices import PriceBook
from understudy.engine import Engine
from understudy.engine.context import Timing
from understudy.engine.points import Reach, nowhere
from understudy.engine.worker import worker_name
from understudy.errors import ConfigError, UnderstudyError
from understudy.evaluate import BUILTIN, Scorer, resolve
from understudy.hookspecs import PriceTable
from understudy.plugins import PluginHost
from understudy.store import Store, open_store

__all__ = ["Project"]


class Project:
    """What commands and the Python API work on. Use as a context manager.

    Args:
        config: the settings; default: ``understudy.toml`` and the environment.
        host: the plugin host; default: one over the installed plugins.
        reach: for crash tests.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        host: PluginHost | None = None,
        reach: Reach = nowhere,
    ) -> None:
        self.config = config or load_config()
        self.host = host or PluginHost()
        own = [PriceTable(name=p.name, path=str(p)) for p in self.config.costs.price_tables]
        self.prices = PriceBook.load((*own, *self.host.price_tables().values()))
        self._reach = reach
        self._backends: dict[str, Backend] = {}
        self._store: Store | None = None
        self._cache: CacheStore | None = None
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def store(self) -> Store:
        """The store, opened (and migrated) at first use."""
        with self._lock:
            if self._store is None:
                self._store = open_store(self.config.store.url.get_secret_value())
            return self._store

    @property
    def data_root(self) -> Path:
        """Folder of the datasets."""
        return self.config.data.root

    @property
    def cache(self) -> CacheStore:
        """The store of precomputed answers, opened at first use."""
        with self._lock:
            if self._cache is None:
                self._cache = open_configured(self.config, self.host)
            return self._cache

    def backend(self, name: str) -> Backend:
        """The configured backend of that name, made once."""
        with self._lock:
            if name not in self._backends:
                self._backends[name] = self.host.make_backend(name, self.config)
            return self._backends[name]

    def capabilities(self, name: str) -> Capabilities:
        """What that backend says of itself; no SDK is imported."""
        plugin, _ = self.config.backend_settings(name)
        return self.host.backend_spec(plugin).capabilities

    def deploying(self, only: str | None = None) -> list[str]:
        """Names of the configured backends that deploy, or ``only`` that one.

        Raises:
            ConfigError: ``only`` does not deploy.
        """
        if only is not None:
            support = self.capabilities(only).deploy
            if not support.ok:
                raise ConfigError(f"{only} has no deployments: {support.reason}")
            return [only]
        return [name for name in self.config.backends if self._deploys(name)]

    def _deploys(self, name: str) -> bool:
        try:
            return self.capabilities(name).deploy.ok
        except UnderstudyError:
            return False  # a plugin that is not there is `understudy plugins`' matter

    def scorer(self, name: str) -> Scorer:
        """The scorer of that name, built in or from a plugin."""
        return resolve(name, (*BUILTIN, *self.host.scorers().values()))

    def engine(self, *, notify: Callable[[str, str, int, int], None] | None = None) -> Engine:
        """An engine on this project, under a worker name of its own."""
        settings = self.config.worker
        engine = Engine(
            store=self.store,
            backends=self,
            prices=self.prices,
            clock=self.config.clock,
            data_root=self.data_root,
            batch_root=self.config.data.batches,
            kinds=kinds(lambda: self.cache),
            batch_answerer=batch_answerer,
            timing=Timing(
                lease=settings.lease_seconds,
                poll_shortest=settings.poll_seconds,
                poll_longest=settings.poll_max_seconds,
            ),
            reach=self._reach,
            worker=worker_name(),
        )
        if notify is not None:
            engine.notify = notify
        return engine

    def close(self) -> None:
        """Give connections back."""
        for backend in self._backends.values():
            backend.close()
        if self._cache is not None:
            self._cache.close()
        if self._store is not None:
            self._store.close()
