"""What a run's student would cost in each tier of its provider, and beside its teacher."""

from __future__ import annotations

from itertools import islice

from understudy.costs.compare import Calls, Comparison, compare_tiers
from understudy.data import count, request_tokens
from understudy.data.teachers import main_teacher
from understudy.model import Usage
from understudy.pipeline import Prepared
from understudy.project import Project

__all__ = ["compare"]


def compare(
    project: Project, prepared: Prepared, *, teacher: str | None = None, a_day: int | None = None
) -> Comparison:
    """Compare tiers, with the calls of the held-out rows as the traffic's measure.

    Args:
        project: the project.
        prepared: the run.
        teacher: default: the most frequent model of the call log, where there is one.
        a_day: calls a day.

    Raises:
        ConfigError: no price is known for any tier, or none for the teacher.
    """
    recipe = prepared.recipe
    if teacher is None and recipe.source.kind == "calls":
        teacher = main_teacher(recipe.source.path)
    rows = list(islice(prepared.dataset.examples("test"), recipe.evaluation.max_rows))
    tokens = Usage(
        input=sum(request_tokens(row.messages, row.tools) for row in rows),
        output=sum(count(row.expected) for row in rows),
    )
    return compare_tiers(
        project.prices,
        provider=project.capabilities(recipe.train.backend).price_book,
        base_model=recipe.train.base_model,
        trained_tokens=prepared.training.tokens,
        calls=Calls(rows=len(rows), tokens=tokens, a_day=a_day),
        teacher=teacher,
        at=project.config.clock.now(),
    )
