"""Learners by name: ``default`` is small and quick; others register an import path."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy_sandbox.learner.base import Learner

LEARNERS: dict[str, str] = {"default": "understudy_sandbox.learner.small:SmallLearner"}


def check_name(name: str) -> str:
    """The name itself, if a learner has it, or the part of it before a colon.

    Raises:
        KeyError: no such learner; the message lists the known names.
    """
    if name.partition(":")[0] not in LEARNERS:
        known = ", ".join(sorted(LEARNERS))
        raise KeyError(f"no learner is named {name!r}; known: {known}. Give one of them.")
    return name


def get_learner(name: str) -> Learner:
    """The learner of a name, or of the part before a colon (``local:<student>``).

    Raises:
        KeyError: no such learner; the message lists the known names.
    """
    kind, _, rest = check_name(name).partition(":")
    module, _, attribute = LEARNERS[kind].partition(":")
    make: Callable[..., Learner] = getattr(import_module(module), attribute)
    return make(rest) if rest else make()
