"""Hook specifications of the plugin host (pluggy), and the records that hooks yield.

A plugin is a module behind an entry point of the group ``understudy``. It implements any of
these hooks with ``hookimpl`` and yields data that points to code (``"package.module:name"``);
the code is imported when it is first used, so a heavy plugin costs nothing at start-up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pluggy

from understudy.backend import API_VERSION, BackendSpec

__all__ = ["API_VERSION", "PROJECT", "CommandSpec", "PriceTable", "ScorerSpec", "hookimpl"]

PROJECT = "understudy"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's implementation of a hook."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandSpec:
    """A CLI command that a plugin brings.

    ``name`` may have two words (``"serve sandbox"``); ``target`` is a function with Typer
    annotations, imported when the command is run or its own help is asked for.
    """

    name: str
    target: str
    help: str
    api: str = ">=1,<2"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScorerSpec:
    """A scorer: ``target`` is ``(answer: str, reference: str) -> float`` with a value in [0, 1]."""

    name: str
    target: str
    help: str
    api: str = ">=1,<2"


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceTable:
    """Prices of training and hosting: a TOML file in the form of costs/training_prices.toml."""

    name: str
    path: str
    api: str = ">=1,<2"


@hookspec
def understudy_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Backends that fine-tune."""


@hookspec
def understudy_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
    """Commands for the CLI."""


@hookspec
def understudy_scorers() -> Iterable[ScorerSpec]:  # type: ignore[empty-body]
    """Scorers for evaluation."""


@hookspec
def understudy_price_tables() -> Iterable[PriceTable]:  # type: ignore[empty-body]
    """Price tables that take precedence over the core's."""
