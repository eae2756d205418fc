"""Answer today's queries from the cache, the rest live; say what that cost.

python serve.py [FILE]
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from understudy import ChatReply, Project
from understudy.batch import Questions, load_precompute, run_reports
from understudy.cache import Cascade, LiveModel

TEACHER = "gpt-4.1"


def main() -> None:
    """Print the table as JSON."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "today.jsonl")
    recipe = load_precompute(Path("precompute.toml"))
    with Project() as project:
        generation = project.cache.stats("query-intent").current
        assert generation is not None, "run `understudy precompute precompute.toml` first"
        backend, _, model = generation.model.partition(":")
        provider = project.capabilities(backend).price_book
        asks = Questions(ask=recipe.ask, model=model, version=generation.model)
        live = project.backend(backend)
        student = LiveModel.over(live, model, prices=project.prices, provider=provider)
        sources: Counter[str] = Counter()
        spent = teacher = Decimal(0)
        with Cascade(project.cache, "query-intent", student=student) as cascade:
            for line in path.read_text().splitlines():
                result = cascade.ask(asks.request(json.loads(line)))
                sources[result.source] += 1
                spent += result.cost or 0
                teacher += _teacher(project, provider, result.reply)
        precompute = sum((one.account.spent_usd for one in run_reports(project.store)), Decimal(0))
    print(json.dumps(_told(sources, spent, teacher, precompute), indent=2))


def _teacher(project: Project, provider: str, reply: ChatReply | None) -> Decimal:
    """What the teacher would have cost for as many tokens."""
    if reply is None:
        return Decimal(0)
    return project.prices.inference_cost(provider, TEACHER, reply.usage)


def _told(
    sources: Counter[str], spent: Decimal, teacher: Decimal, precompute: Decimal
) -> dict[str, Any]:
    queries = sum(sources.values())
    thousand = Decimal(1000) / queries
    return {
        "queries": queries,
        "hit_rate": round(sources["cache"] / queries, 4),
        "asked_live": sources["student"],
        "live_usd_per_thousand": f"{spent * thousand:.6f}",
        "precompute_usd_once": f"{precompute:.6f}",
        "teacher_usd_per_thousand": f"{teacher * thousand:.6f}",
    }


if __name__ == "__main__":
    main()
