"""Loads one plugin, fenced off: whatever it does wrong becomes a reason and a fix."""

from __future__ import annotations

import importlib
import inspect
import re
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any, Literal

import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from understudy import hookspecs
from understudy.backend import API_VERSION, BackendSpec
from understudy.errors import PluginApiError, PluginError, PluginLoadError
from understudy.hookspecs import (
    CacheStoreSpec,
    CommandSpec,
    FilterSpec,
    PriceTable,
    ScorerSpec,
    ScoreSinkSpec,
    TraceSinkSpec,
    TraceSourceSpec,
)
from understudy.secrets import redact
from understudy.validation import nearest

__all__ = ["HOOKS", "Kind", "Plugin", "Record", "import_target", "load", "words"]

Kind = Literal[
    "backend",
    "command",
    "scorer",
    "price table",
    "cache store",
    "source",
    "filter",
    "trace sink",
    "score sink",
]
Record = (
    BackendSpec
    | CacheStoreSpec
    | CommandSpec
    | ScorerSpec
    | PriceTable
    | TraceSourceSpec
    | FilterSpec
    | TraceSinkSpec
    | ScoreSinkSpec
)

HOOKS: dict[Kind, tuple[str, type[Record]]] = {
    "backend": ("understudy_backends", BackendSpec),
    "command": ("understudy_commands", CommandSpec),
    "scorer": ("understudy_scorers", ScorerSpec),
    "price table": ("understudy_price_tables", PriceTable),
    "cache store": ("understudy_cache_stores", CacheStoreSpec),
    "source": ("understudy_trace_sources", TraceSourceSpec),
    "filter": ("understudy_filters", FilterSpec),
    "trace sink": ("understudy_trace_sinks", TraceSinkSpec),
    "score sink": ("understudy_score_sinks", ScoreSinkSpec),
}
"""What a plugin may bring: the hook that yields it and the record that it yields."""


@dataclass(kw_only=True)
class Plugin:
    name: str
    distribution: str
    version: str
    records: dict[tuple[Kind, str], Record] = field(default_factory=dict)
    error: PluginError | None = None
    fix: str = ""
    conflicts: list[str] = field(default_factory=list)


class _Refused(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, error: PluginError, fix: str = "") -> None:
        self.error, self.fix = error, fix
        super().__init__(str(error))


def import_target(target: str, *, what: str, install: str = "") -> Any:
    """The object at ``"package.module:name"``, imported now.

    Args:
        target: where it is.
        what: what is asked for, for the message.
        install: the command that installs what is missing, for the message.

    Raises:
        PluginLoadError: from whatever the import raised.
    """
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        advice = install or "reinstall its plugin"
        raise PluginLoadError(
            f"{what} cannot be loaded from {target}: {words(error)}; try: {advice}"
        ) from error


def load(entry: EntryPoint) -> Plugin:
    plugin = Plugin(name=entry.name, distribution=re.split("[.:]", entry.value)[0], version="")
    # Metadata may be damaged as well: then the module's own name has to do.
    with suppress(Exception):
        if entry.dist is not None and entry.dist.name:
            plugin.distribution, plugin.version = entry.dist.name, entry.dist.version
    try:
        module = _import(entry, plugin)
        _collect(module, plugin)
    except _Refused as refused:
        plugin.error = refused.error
        upgrade = f"pip install --upgrade {plugin.distribution}"
        plugin.fix = refused.fix or f"{upgrade}, or pip uninstall {plugin.distribution}"
    return plugin


def _import(entry: EntryPoint, plugin: Plugin) -> Any:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        fix = ""
        if isinstance(error, ImportError) and (error.name or "").startswith("understudy."):
            fix = "pip install --upgrade understudy, or install a version of the plugin that fits"
        elif isinstance(error, ModuleNotFoundError):
            fix = f"install what brings {error.name!r}: pip install --upgrade {plugin.distribution}"
        failure = PluginLoadError(f"{entry.value} broke on import: {words(error)}")
        failure.__cause__ = error
        raise _Refused(failure, fix) from error


def _collect(module: Any, plugin: Plugin) -> None:
    # A manager for each plugin: one that raises in a hook cannot stop the hooks of the others.
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=plugin.name)
    except Exception as error:
        failure = PluginLoadError(f"its hooks do not fit their specification: {words(error)}")
        raise _Refused(failure) from error
    for kind, (hook, record) in HOOKS.items():
        for value in _call(manager, hook):
            if not isinstance(value, record):
                what = f"{hook} yields a {type(value).__name__}, not {record.__name__}"
                raise _Refused(PluginLoadError(what))
            if (kind, value.name) in plugin.records:
                raise _Refused(PluginLoadError(f"{hook} yields {value.name!r} twice"))
            plugin.records[kind, value.name] = value
    _check_api(plugin)
    _check_hooks(manager, module, plugin)


def _call(manager: pluggy.PluginManager, hook: str) -> list[Any]:
    try:
        return [value for result in getattr(manager.hook, hook)() for value in result]
    except (Exception, SystemExit) as error:
        failure = PluginLoadError(f"{hook} raised {words(error)}")
        failure.__cause__ = error
        raise _Refused(failure) from error


def _check_api(plugin: Plugin) -> None:
    for (kind, name), record in plugin.records.items():
        try:
            wanted = SpecifierSet(record.api)
        except InvalidSpecifier:
            raise _Refused(
                PluginApiError(f"{kind} {name!r} has api={record.api!r}, which is no specifier"),
                'write it like ">=1,<2"',
            ) from None
        if wanted.contains(API_VERSION, prereleases=True):
            continue
        ours = Version(API_VERSION)
        newer = any(
            one.operator in {">=", ">", "~=", "=="} and Version(one.version.rstrip(".*")) > ours
            for one in wanted
        )
        late = "understudy" if newer else plugin.distribution
        raise _Refused(
            PluginApiError(
                f"{kind} {name!r} was written for API {record.api}; this is API {API_VERSION}"
            ),
            f"pip install --upgrade {late}",
        )


def _check_hooks(manager: pluggy.PluginManager, module: Any, plugin: Plugin) -> None:
    known = [caller for caller, _ in HOOKS.values()]
    for caller in manager.get_hookcallers(module) or ():
        if not caller.has_spec():
            raise _Refused(
                PluginLoadError(f"it implements {caller.name}, and there is no such hook"),
                nearest(caller.name, known),
            )
    for name in known:
        unmarked = getattr(module, name, None)
        if inspect.isroutine(unmarked) and manager.parse_hookimpl_opts(module, name) is None:
            raise _Refused(
                PluginLoadError(f"{name} is not marked as a hook, so nothing ever calls it"),
                f"decorate it with understudy.hookspecs.hookimpl, or upgrade {plugin.distribution}",
            )


def words(error: BaseException) -> str:
    first = redact(str(error)).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}"[:300].rstrip(": ")
