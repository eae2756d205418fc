"""The plugin host: finds plugins, fences them off from each other, and loads them on first use.

A plugin that breaks, misspells a hook, was written for another version of the contract, or claims
a name that is taken, is listed with a reason and a fix; everything else goes on without it. Only
asking for something of that plugin raises. No provider SDK is imported before a backend is used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from understudy.backend import Backend, BackendSpec, Clock, Settings
from understudy.errors import (
    ConfigError,
    PluginConflictError,
    PluginLoadError,
)
from understudy.hookspecs import (
    CacheStoreSpec,
    CommandSpec,
    FilterSpec,
    PriceTable,
    ScorerSpec,
    ScoreSink,
    ScoreSinkSpec,
    TraceSink,
    TraceSinkSpec,
    TraceSource,
    TraceSourceSpec,
)
from understudy.plugins.loading import Kind, Plugin, import_target, load
from understudy.validation import nearest, parse

if TYPE_CHECKING:
    from understudy.config import Config

__all__ = ["GROUP", "PluginHost", "PluginInfo"]

GROUP = "understudy"
"""Group of the entry points that plugins declare."""

Status = Literal["ok", "failed", "conflict"]

_CONFLICT_FIX = "uninstall one of them"

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginInfo:
    """One line of ``understudy plugins``; ``provides`` holds words such as "backend openai"."""

    name: str
    distribution: str
    version: str
    status: Status
    reason: str = ""
    fix: str = ""
    provides: tuple[str, ...] = ()


class PluginHost:
    """All plugins of this environment.

    Args:
        entry_points: what to load; default: the installed entry points of group ``understudy``.
        reserved_commands: names that the CLI itself has; a plugin that claims one is in conflict.
    """

    def __init__(
        self,
        *,
        entry_points: Iterable[EntryPoint] | None = None,
        reserved_commands: Collection[str] = (),
    ) -> None:
        found = metadata.entry_points(group=GROUP) if entry_points is None else entry_points
        self._plugins = [load(entry) for entry in found]
        self._classes: dict[str, type[Backend]] = {}
        self._owners: dict[tuple[Kind, str], list[str]] = {}
        for name in reserved_commands:
            self._owners["command", name] = ["understudy"]
        for plugin in self._working():
            for claim in plugin.records:
                self._owners.setdefault(claim, []).append(plugin.distribution)
        for plugin in self._working():
            plugin.conflicts = [
                self._conflict(claim) for claim in plugin.records if len(self._owners[claim]) > 1
            ]

    def plugins(self) -> list[PluginInfo]:
        """Every plugin that was found, by name, with what is wrong with it if anything is."""
        return sorted(map(_info, self._plugins), key=lambda info: (info.name, info.distribution))

    def backends(self) -> dict[str, BackendSpec]:
        """Backends that can be used, by name."""
        return self._select("backend", BackendSpec)

    def commands(self) -> dict[str, CommandSpec]:
        """CLI commands of plugins, by name; a name may have two words."""
        return self._select("command", CommandSpec)

    def scorers(self) -> dict[str, ScorerSpec]:
        """Scorers of plugins, by name."""
        return self._select("scorer", ScorerSpec)

    def cache_stores(self) -> dict[str, CacheStoreSpec]:
        """Cache stores of plugins, by URL scheme."""
        return self._select("cache store", CacheStoreSpec)

    def price_tables(self) -> dict[str, PriceTable]:
        """Price tables of plugins, by name."""
        return self._select("price table", PriceTable)

    def trace_sources(self) -> dict[str, TraceSourceSpec]:
        """Sources of logged calls that plugins bring, by name."""
        return self._select("source", TraceSourceSpec)

    def filters(self) -> dict[str, FilterSpec]:
        """Cleaning filters that plugins bring, by name."""
        return self._select("filter", FilterSpec)

    def trace_sinks(self) -> dict[str, TraceSinkSpec]:
        """Services that are told of every call, by name."""
        return self._select("trace sink", TraceSinkSpec)

    def score_sinks(self) -> dict[str, ScoreSinkSpec]:
        """Services that keep scores and experiments, by name."""
        return self._select("score sink", ScoreSinkSpec)

    def backend_spec(self, name: str) -> BackendSpec:
        """The spec of the backend plugin ``name``. Raises as ``backend_class`` does."""
        return self._get("backend", name, self.backends())

    def backend_class(self, name: str) -> type[Backend]:
        """The class behind the backend plugin ``name``, imported now.

        Raises:
            ConfigError: no plugin has it; names the nearest one.
            PluginLoadError: a requirement is missing or too old, or the import failed.
            PluginError: its plugin failed at start-up, or two plugins claim the name.
        """
        if name not in self._classes:
            spec = self.backend_spec(name)
            _check_requirements(spec)
            found = import_target(spec.target, what=f"backend {name!r}", install=spec.install)
            if not (isinstance(found, type) and issubclass(found, Backend)):
                raise PluginLoadError(
                    f"backend {name!r} points at {spec.target}, which is not a subclass of "
                    "understudy.backend.Backend; tell the plugin's author"
                )
            self._classes[name] = found
        return self._classes[name]

    def make_backend(self, instance: str, config: Config, clock: Clock | None = None) -> Backend:
        """The configured backend ``instance``, ready to use; does no I/O.

        Args:
            instance: name of a ``[backends.NAME]`` table, or of a backend plugin.
            config: where settings come from.
            clock: default: the config's.

        Raises:
            ConfigError: unknown name, or settings that cannot work.
            PluginError: the plugin cannot be used.
        """
        from understudy.config import resolve_settings

        plugin, table = config.backend_settings(instance)
        if plugin == instance and instance not in self.backends():
            known = {*self.backends(), *config.backends}
            self._refuse("backend", instance, known - {instance})
        cls = self.backend_class(plugin)
        where = f"{config.file or 'environment'} [backends.{instance}]"
        settings = resolve_settings(cls.Settings, table, config.env, where=where)
        return cls(name=instance, settings=settings, clock=clock or config.clock)

    def make_trace_sink(self, name: str, config: Config, folder: Path) -> TraceSink:
        """The trace sink ``name``, ready to use; does no I/O. Raises as ``make_backend`` does.

        Args:
            name: the sink's, which is also that of its ``[services.NAME]`` table.
            config: where settings come from.
            folder: where calls wait until they are delivered.
        """
        spec = self._get("trace sink", name, self.trace_sinks())
        cls: type[TraceSink] = import_target(spec.target, what=f"trace sink {name!r}")
        settings = _service_settings(name, cls.Settings, config)
        return cls(settings=settings, folder=folder, clock=config.clock)

    def make_score_sink(self, name: str, config: Config) -> ScoreSink:
        """The score sink ``name``, ready to use; does no I/O. Raises as ``make_backend`` does."""
        spec = self._get("score sink", name, self.score_sinks())
        cls: type[ScoreSink] = import_target(spec.target, what=f"score sink {name!r}")
        settings = _service_settings(name, cls.Settings, config)
        return cls(settings=settings, clock=config.clock)

    def make_source(
        self, name: str, config: Config, options: Mapping[str, Any], service: str | None = None
    ) -> TraceSource:
        """The source ``name`` that asks a service, ready to use; does no I/O.

        Args:
            name: what recipes write as ``source.kind``.
            config: where ``[services.NAME]`` and the environment come from.
            options: ``[source.options]`` of the recipe.
            service: NAME of its table; default: ``name``.

        Raises:
            ConfigError: unknown name, or settings or options that cannot work.
            PluginError: the plugin cannot be used.
        """
        spec = self._get("source", name, self.trace_sources())
        cls: type[TraceSource] = import_target(spec.target, what=f"source {name!r}")
        settings = _service_settings(service or name, cls.Settings, config)
        checked = parse(cls.Options, options, where=f"[source.options] {name}")
        return cls(settings=settings, options=checked, clock=config.clock)

    def scorer(self, name: str) -> Callable[[str, str], float]:
        """The scorer function of a plugin, imported now. Raises as ``backend_class`` does."""
        spec = self._get("scorer", name, self.scorers())
        loaded: Callable[[str, str], float] = import_target(spec.target, what=f"scorer {name!r}")
        return loaded

    def command(self, name: str) -> Callable[..., Any]:
        """The function of a plugin's CLI command. Raises as ``backend_class`` does."""
        spec = self._get("command", name, self.commands())
        loaded: Callable[..., Any] = import_target(spec.target, what=f"command {name!r}")
        return loaded

    def _working(self) -> list[Plugin]:
        return [plugin for plugin in self._plugins if plugin.error is None]

    def _select(self, kind: Kind, record: type[R]) -> dict[str, R]:
        return {
            name: value
            for plugin in self._working()
            for (of_kind, name), value in sorted(plugin.records.items())
            if of_kind == kind and isinstance(value, record) and len(self._owners[kind, name]) == 1
        }

    def _get(self, kind: Kind, name: str, usable: dict[str, R]) -> R:
        if name not in usable:
            self._refuse(kind, name, usable)
        return usable[name]

    def _refuse(self, kind: Kind, name: str, known: Iterable[str]) -> NoReturn:
        """Say why ``name`` cannot be had: contested, of a broken plugin, or simply unknown."""
        if len(self._owners.get((kind, name), ())) > 1:
            raise PluginConflictError(f"{self._conflict((kind, name))}; {_CONFLICT_FIX}")
        broken = [plugin for plugin in self._plugins if plugin.error is not None]
        for plugin in broken:
            # A plugin that broke on import never said what it has; its own name is the best hint.
            if plugin.error and ((kind, name) in plugin.records or plugin.name == name):
                raise type(plugin.error)(
                    f"{kind} {name!r} cannot be used: {plugin.error}; {plugin.fix}"
                ) from (plugin.error.__cause__ or plugin.error)
        hint = ""
        if broken:
            names = ", ".join(sorted(plugin.distribution for plugin in broken))
            hint = f" Plugins that could not be loaded: {names}; see `understudy plugins`."
        raise ConfigError(f"there is no {kind} {name!r}: {nearest(name, known)}{hint}")

    def _conflict(self, claim: tuple[Kind, str]) -> str:
        kind, name = claim
        return f"{kind} {name!r} is claimed by {' and '.join(sorted(self._owners[claim]))}"


def _service_settings(name: str, model: type[Settings], config: Config) -> Settings:
    from understudy.config import resolve_settings

    where = f"{config.file or 'environment'} [services.{name}]"
    return resolve_settings(model, config.services.get(name, {}), config.env, where=where)


def _info(plugin: Plugin) -> PluginInfo:
    status: Status = "ok"
    reason, fix = "", ""
    if plugin.error is not None:
        status, reason, fix = "failed", str(plugin.error), plugin.fix
    elif plugin.conflicts:
        status, reason, fix = "conflict", "; ".join(plugin.conflicts), _CONFLICT_FIX
    provides = [] if plugin.error else sorted(f"{kind} {name}" for kind, name in plugin.records)
    return PluginInfo(
        name=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        status=status,
        reason=reason,
        fix=fix,
        provides=tuple(provides),
    )


def _check_requirements(spec: BackendSpec) -> None:
    from packaging.requirements import Requirement

    for text in spec.requires:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            present = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            have = "it is not installed"
        else:
            if wanted.specifier.contains(present, prereleases=True):
                continue
            have = f"{wanted.name} {present} is installed"
        raise PluginLoadError(
            f"backend {spec.name!r} needs {text}, and {have}; run: {spec.install}"
        )
