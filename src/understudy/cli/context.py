"""What the commands of one call share: settings and plugins, each made on first use."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from understudy.config import Config
    from understudy.plugins import PluginHost

__all__ = ["Session", "session"]


@dataclass
class Session:
    """One call of the command line.

    Args:
        config_path: what ``--config`` names, if it was given.
        reserved: names of the CLI's own commands, which plugins cannot take.
    """

    config_path: Path | None = None
    reserved: tuple[str, ...] = ()
    _config: Config | None = field(default=None, repr=False)
    _host: PluginHost | None = field(default=None, repr=False)

    @property
    def config(self) -> Config:
        """The settings. Raises ``ConfigError``."""
        if self._config is None:
            from understudy.config import load_config

            self._config = load_config(self.config_path)
        return self._config

    @property
    def host(self) -> PluginHost:
        """All plugins. Never raises for a broken one."""
        if self._host is None:
            from understudy.plugins import PluginHost

            self._host = PluginHost(reserved_commands=self.reserved)
        return self._host


def session(ctx: typer.Context) -> Session:
    """The session of the call that ``ctx`` belongs to."""
    found = ctx.find_object(Session)
    if found is None:
        found = ctx.obj = Session()
    return found
