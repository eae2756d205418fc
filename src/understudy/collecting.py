"""From a recipe to its dataset: calls are pulled where a service keeps them, rows are prepared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from understudy.data import Dataset, prepare
from understudy.errors import ConfigError
from understudy.model import Method
from understudy.project import Project
from understudy.recipe import Recipe

if TYPE_CHECKING:
    from understudy.data.engine import Engine
    from understudy.data.sources.collect import Collected

__all__ = ["collect_calls", "prepare_dataset"]

Progress = Callable[[int], None]


def collect_calls(
    project: Project, recipe: Recipe, *, progress: Progress | None = None
) -> Collected:
    """Pull what the recipe's service has beyond the last pull into ``source.path``.

    Args:
        project: where services are configured.
        recipe: its source asks a service.
        progress: called with the number of new calls so far.

    Raises:
        ConfigError: the source reads files, or its settings or options cannot work.
        BackendError: the service refused or failed; what came before is kept.
        DataError: the file cannot be written, or was changed by hand.
    """
    from contextlib import closing

    from understudy.data.sources import source_spec
    from understudy.data.sources.collect import collect

    asked = recipe.source
    spec = source_spec(asked, project.host.trace_sources())
    if spec is None or spec.reads != "service":
        raise ConfigError(f"[source.kind] {asked.kind!r} reads files; there is nothing to collect")
    source = project.host.make_source(
        asked.kind, project.config, asked.options, service=asked.service
    )
    with closing(source):
        return collect(source, asked.path, progress=progress)


def prepare_dataset(
    project: Project,
    recipe: Recipe,
    *,
    method: Method | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Make (or find) the dataset of a recipe, with the project's plugins and engine.

    Args:
        project: datasets, plugins and settings.
        recipe: source, cleaning, split and training.
        method: default: the recipe's.
        engine: default: the one of ``[data]`` in understudy.toml.
        progress: called with the number of source rows read so far.

    Raises:
        ConfigError: as ``prepare`` does.
        DataError: the source cannot be used.
    """
    from understudy.data.engine import Engine

    settings = project.config.data
    return prepare(
        source=recipe.source,
        cleaning=recipe.cleaning,
        split=recipe.split,
        method=method or recipe.train.method,
        root=project.data_root,
        max_row_tokens=project.capabilities(recipe.train.backend).max_row_tokens,
        progress=progress,
        engine=engine or Engine(name=settings.engine, address=settings.ray_address),
        sources=project.host.trace_sources(),
        filters=project.host.filters(),
    )
