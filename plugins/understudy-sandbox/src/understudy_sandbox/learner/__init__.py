"""Learners by name: ``default`` is small and quick; others are backends of other plugins.

A distribution offers a fine-tuning backend as a learner by an entry point (see ``driven``).
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy_sandbox.learner.base import Learner

GROUP = "understudy_sandbox.learners"
"""Group of the entry points that offer backends as learners."""

LEARNERS: dict[str, str] = {"default": "understudy_sandbox.learner.small:SmallLearner"}


def _offered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def check_name(name: str) -> str:
    """The name itself, if a learner has it, or the part of it before a colon.

    Raises:
        KeyError: no such learner, or it needs a student; the message lists the known names.
    """
    kind, _, rest = name.partition(":")
    offered = _offered()
    if kind in offered and not rest:
        raise KeyError(f"learner {kind!r} trains a student; say which, as {kind}:smollm2-135m")
    if kind not in {*LEARNERS, *offered}:
        known = ", ".join(sorted({*LEARNERS, *(f"{one}:STUDENT" for one in offered)}))
        hint = " Install understudy-local for local:STUDENT." if kind == "local" else ""
        raise KeyError(f"no learner is named {name!r}; known: {known}. Give one of them.{hint}")
    return name


def get_learner(name: str) -> Learner:
    """The learner of a name, or of the part before a colon (``local:<student>``).

    Raises:
        KeyError: as ``check_name``.
    """
    kind, _, rest = check_name(name).partition(":")
    offered = _offered()
    if kind in offered:
        from understudy_sandbox.learner.driven import DrivenLearner

        return DrivenLearner(offered[kind].load(), rest)
    module, _, attribute = LEARNERS[kind].partition(":")
    make: Callable[..., Learner] = getattr(import_module(module), attribute)
    return make(rest) if rest else make()
