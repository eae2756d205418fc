"""understudy.toml and the environment as typed settings.

The file is ``understudy.toml`` in the working folder, or the one that ``--config`` or
``UNDERSTUDY_CONFIG`` names; without a file everything has a default. ::

    [store]
    url = "sqlite:///.understudy/understudy.db"   # UNDERSTUDY_STORE wins over it
    [data]
    root = ".understudy/datasets"
    batches = ".understudy/batches"               # shared by workers on several hosts
    [cache]
    url = "sqlite:///.understudy/cache"           # UNDERSTUDY_CACHE wins over it
    [costs]
    price_tables = ["prices.toml"]                # prices of your own server
    [worker]
    lease_seconds = 120
    [backends.openai-eu]
    uses = "openai"                               # which plugin; default: the name itself
    base_url = "https://eu.api.openai.com/v1"
    api_key_env = "OPENAI_EU_KEY"                 # a secret is named, never written down

Relative paths are relative to the folder of the file. Secrets stay in ``SecretStr``; no repr and
no message shows them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr, field_validator

from understudy.backend import Settings
from understudy.clock import FastClock, SystemClock, clock_from
from understudy.errors import ConfigError
from understudy.validation import nearest, parse, read_toml

__all__ = [
    "CONFIG_NAME",
    "CacheSettings",
    "Config",
    "CostSettings",
    "DataSettings",
    "Environment",
    "StoreSettings",
    "WorkerSettings",
    "load_config",
    "resolve_settings",
    "shown_url",
]

CONFIG_NAME = "understudy.toml"
"""Name of the settings file that is looked for in the working folder."""

_SQLITE = "sqlite:///"

S = TypeVar("S", bound=Settings)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(_Section):
    """Where durable state lives.

    ``url`` is an SQLAlchemy URL. It may hold a password, so it is a ``SecretStr``: pass
    ``url.get_secret_value()`` to the engine and print ``shown``.
    """

    url: SecretStr = SecretStr(f"{_SQLITE}.understudy/understudy.db")

    @property
    def shown(self) -> str:
        """The URL for people: without password and query."""
        return shown_url(self.url.get_secret_value())


class DataSettings(_Section):
    """Where datasets are kept, and the shards of what is asked by batch.

    ``engine`` says where rows are worked on: "local" is this machine, "ray" the Ray cluster at
    ``ray_address``, or one that is found or started here.
    """

    root: Path = Path(".understudy/datasets")
    batches: Path = Path(".understudy/batches")
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None


class CacheSettings(_Section):
    """Where precomputed answers are kept: ``[cache]``.

    ``url`` is a folder of the embedded store (``sqlite:///folder``), ``redis://...``,
    ``postgresql://...``, or what a plugin brings; ``UNDERSTUDY_CACHE`` wins over it. It may hold
    a password. Limits are in bytes of stored values: a longer value is refused, a generation over
    its limit too, and of the live answers the oldest go.
    """

    url: SecretStr = SecretStr(f"{_SQLITE}.understudy/cache")
    compress: bool = True
    max_value_bytes: int = Field(default=4 << 20, ge=1)
    max_generation_bytes: int | None = Field(default=None, ge=1)
    max_tail_bytes: int | None = Field(default=1 << 30, ge=0)


class CostSettings(_Section):
    """Prices of your own: files in the form of costs/training_prices.toml.

    They go before those of plugins and of the core. A server of your own needs one: a price that
    nobody knows is an error, never zero.
    """

    price_tables: tuple[Path, ...] = ()


class WorkerSettings(_Section):
    """How a worker waits and how much it does at once. Times in seconds.

    ``lease_seconds`` is how long a silent worker keeps an operation; ``poll_seconds`` is the
    first pause between two looks at a job, ``poll_max_seconds`` the longest; ``concurrency`` is
    how many operations one worker drives at a time.
    """

    lease_seconds: float = Field(default=120, gt=0)
    poll_seconds: float = Field(default=15, gt=0)
    poll_max_seconds: float = Field(default=300, gt=0)
    concurrency: int = Field(default=4, ge=1)


class Environment(Mapping[str, str]):
    """Environment variables that can be looked up and never print themselves."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables or {})

    def __getitem__(self, name: str) -> str:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return f"<{len(self)} variables>"


class _File(_Section):
    store: StoreSettings = StoreSettings()
    data: DataSettings = DataSettings()
    cache: CacheSettings = CacheSettings()
    costs: CostSettings = CostSettings()
    worker: WorkerSettings = WorkerSettings()
    backends: dict[str, dict[str, Any]] = Field(default_factory=dict)
    services: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("backends")
    @classmethod
    def _uses_is_text(cls, tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, table in tables.items():
            if not isinstance(table.get("uses", ""), str):
                message = f"{name}.uses is the name of a backend plugin, in quotes"
                raise ValueError(message)  # noqa: TRY004 - pydantic turns ValueError into a line
        return tables


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of one project.

    Args:
        project: folder that relative paths start from, absolute.
        file: the settings file, or None where there is none.
        store, data, cache, costs, worker: the sections; their files and folders come out absolute.
        clock: the system's clock, or the one that ``UNDERSTUDY_CLOCK`` describes.
        backends: the raw ``[backends.NAME]`` tables.
        services: the raw ``[services.NAME]`` tables: what sources and sinks speak to.
        env: the environment that backends read their settings from.
    """

    project: Path
    file: Path | None
    store: StoreSettings
    data: DataSettings
    worker: WorkerSettings
    clock: SystemClock | FastClock
    costs: CostSettings = field(default_factory=CostSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=Environment, repr=False)

    def backend_settings(self, name: str) -> tuple[str, dict[str, Any]]:
        """The plugin behind the configured backend ``name`` and its table without ``uses``.

        A name without a table stands for the plugin of that name with an empty table.
        """
        table = dict(self.backends.get(name, {}))
        plugin = str(table.pop("uses", name))
        return plugin, table


def load_config(path: Path | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Read the settings.

    Args:
        path: the file; default: ``UNDERSTUDY_CONFIG``, then ``understudy.toml`` in the working
            folder if it is there.
        env: the environment; default: the process's.

    Raises:
        ConfigError: the named file is absent, not TOML, or says something that is not known.
    """
    variables = dict(os.environ if env is None else env)
    file = _settings_file(path, variables)
    project = (file.parent if file else Path.cwd()).resolve()
    parsed = parse(_File, read_toml(file), where=str(file)) if file else _File()
    url = variables.get("UNDERSTUDY_STORE") or parsed.store.url.get_secret_value()
    cache = variables.get("UNDERSTUDY_CACHE") or parsed.cache.url.get_secret_value()
    return Config(
        project=project,
        file=file,
        store=StoreSettings(url=SecretStr(_absolute_url(url, project))),
        data=DataSettings(
            root=project / parsed.data.root.expanduser(),
            batches=project / parsed.data.batches.expanduser(),
            engine=parsed.data.engine,
            ray_address=parsed.data.ray_address,
        ),
        costs=CostSettings(
            price_tables=tuple(project / p.expanduser() for p in parsed.costs.price_tables)
        ),
        cache=parsed.cache.model_copy(update={"url": SecretStr(_absolute_url(cache, project))}),
        worker=parsed.worker,
        clock=clock_from(variables.get("UNDERSTUDY_CLOCK")),
        backends=parsed.backends,
        services=parsed.services,
        env=Environment(variables),
    )


def _settings_file(path: Path | None, env: Mapping[str, str]) -> Path | None:
    named = path or (Path(env["UNDERSTUDY_CONFIG"]) if env.get("UNDERSTUDY_CONFIG") else None)
    if named is None:
        default = Path.cwd() / CONFIG_NAME
        return default if default.is_file() else None
    if not named.is_file():
        origin = "--config" if path else "UNDERSTUDY_CONFIG"
        raise ConfigError(
            f"{named}: {origin} names this settings file and it is not there; "
            "correct the path, or leave it out to use the defaults"
        )
    return named


def _absolute_url(url: str, project: Path) -> str:
    """An SQLite file is meant relative to the project, not to wherever a command is run."""
    database = url.removeprefix(_SQLITE)
    if database == url or not database or database.startswith((":memory:", "file:")):
        return url
    return f"{_SQLITE}{project / database}"


def shown_url(url: str) -> str:
    """``url`` without its password and its query, for messages and tables."""
    parts = urlsplit(url)
    if not parts.netloc:
        return url.partition("?")[0]
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    shown = f"{name}:***" if colon else name
    return f"{parts.scheme}://{shown}{at}{host}{parts.path}"


def resolve_settings(
    model: type[S], table: Mapping[str, Any], env: Mapping[str, str], *, where: str
) -> S:
    """The settings of one configured backend.

    What the table says wins; the environment variables that ``model.env`` names fill in what it
    leaves out. A secret field ``x`` is never read from the table: ``x_env`` names the variable
    that holds it.

    Args:
        model: the backend's ``Settings``.
        table: ``[backends.NAME]`` without ``uses``.
        env: the environment.
        where: the section's name, for messages.

    Raises:
        ConfigError: a secret stands in the file, a named variable is not set, or a name or value
            is not valid. Values of secrets never appear.
    """
    secrets = set(_secret_fields(model))
    known = [*model.model_fields, *(f"{name}_env" for name in secrets), "uses"]
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.removesuffix("_env")
        if key in secrets:
            raise ConfigError(
                f"{where}: [{key}] is a secret and must not stand in the file; put it into an "
                f'environment variable and write {key}_env = "{model.env.get(key, key.upper())}"'
            )
        if key in model.model_fields:
            values[key] = value
        elif key != name and name in secrets:
            values[name] = _from_env(key, value, env, where)
        else:
            raise ConfigError(f"{where}: [{key}] is not a known name: {nearest(key, known)}")
    for name, variable in model.env.items():
        if name not in values and env.get(variable):
            values[name] = env[variable]
    return parse(model, values, where=where)


def _from_env(key: str, variable: Any, env: Mapping[str, str], where: str) -> str:
    value = env.get(variable) if isinstance(variable, str) else None
    if value:
        return value
    # What stands here may be the secret itself, put under the wrong name: then it is not shown.
    if isinstance(variable, str) and re.fullmatch(r"[A-Z][A-Z0-9_]*", variable):
        raise ConfigError(
            f"{where}: [{key}] names the environment variable {variable}, which is not set; "
            f"export {variable}, or name another one"
        )
    raise ConfigError(
        f"{where}: [{key}] must be the name of an environment variable that is set, "
        f'such as {key} = "{key.removesuffix("_env").upper()}"'
    )


def _secret_fields(model: type[BaseModel]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        if _mentions_secret(info.annotation):
            yield name


def _mentions_secret(annotation: Any) -> bool:
    if annotation in (SecretStr, SecretBytes):
        return True
    return any(_mentions_secret(inner) for inner in get_args(annotation))
