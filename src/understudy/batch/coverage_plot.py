"""The coverage curve as a picture. Needs matplotlib: ``pip install 'understudy[plots]'``."""

from __future__ import annotations

from pathlib import Path

from understudy.batch.coverage import Coverage, Point
from understudy.errors import ConfigError

__all__ = ["plot"]


def plot(coverage: Coverage, path: Path, *, chosen: Point | None = None) -> None:
    """Draw traffic covered against keys; PNG or SVG by the name's ending.

    Raises:
        ConfigError: another ending, or matplotlib is not installed.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in {"png", "svg"}:
        raise ConfigError(f"{path}: a plot is a .png or an .svg; give it one of these endings")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            f"{path}: plots need matplotlib; pip install 'understudy[plots]'"
        ) from None
    points = coverage.curve()
    keys = [point.keys for point in points]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(keys, [100 * point.of_log for point in points], label="of the log")
    axes.plot(keys, [100 * point.to_come for point in points], "--", label="of traffic to come")
    if chosen is not None:
        axes.axvline(chosen.keys, color="grey", linewidth=0.8)
        axes.annotate(
            f"{chosen.keys:,} keys\n{chosen.of_log:.1%}",
            (chosen.keys, 100 * chosen.of_log),
            textcoords="offset points",
            xytext=(-8, -28),
            ha="right",
        )
    axes.set(
        xscale="log",
        ylim=(0, 100),
        xlabel="queries precomputed, most frequent first",
        ylabel="traffic covered, %",
        title=f"{coverage.traffic:,} queries, {coverage.distinct:,} different",
    )
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)
    # No date, and fixed names inside: the same log draws the same file.
    fixed = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(path, format=kind, metadata=fixed)
