"""What providers take in one training file, and whether a dataset fits.

Sources: OpenAI and Azure fine-tuning guides, Vertex AI "Quotas and limits" of tuning, as of
2026-11. A backend's own validation knows more (models, methods); this is about files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from understudy.model import Problem, Rows

__all__ = ["LIMITS", "Limits", "check_rows"]

_MB = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits of training files: rows, bytes, tokens of one row; None where none is published."""

    least_rows: int = 1
    most_bytes: int | None = None
    most_row_tokens: int | None = None
    most_validation_rows: int | None = None


LIMITS: Mapping[str, Limits] = {
    "openai": Limits(least_rows=10, most_bytes=8_000 * _MB, most_row_tokens=65_536),
    "azure": Limits(least_rows=10, most_bytes=512 * _MB, most_row_tokens=65_536),
    "vertex": Limits(most_bytes=1_000 * _MB, most_row_tokens=131_072, most_validation_rows=5_000),
    "local": Limits(),
}


def check_rows(provider: str, training: Rows, validation: Rows | None = None) -> list[Problem]:
    """What does not fit, each with its fix.

    Args:
        provider: a key of ``LIMITS``; any other has none.
        training: the training file.
        validation: the validation file, if there is one.
    """
    limits = LIMITS.get(provider, Limits())
    files = [("training", training), *([("validation", validation)] if validation else [])]
    problems = []
    if training.rows < limits.least_rows:
        problems.append(
            Problem(
                field="training",
                message=f"{training.rows} rows; {provider} wants {limits.least_rows}",
                fix="give more rows, or drop fewer in cleaning",
            )
        )
    for name, rows in files:
        if limits.most_bytes is not None and rows.bytes > limits.most_bytes:
            problems.append(
                Problem(
                    field=name,
                    message=f"{rows.bytes:,} bytes; {provider} takes {limits.most_bytes:,}",
                    fix="drop near-duplicates, shorten rows, or take fewer of them",
                )
            )
        if limits.most_row_tokens is not None and rows.longest > limits.most_row_tokens:
            problems.append(
                Problem(
                    field=name,
                    message=f"a row has {rows.longest:,} tokens; {provider} takes "
                    f"{limits.most_row_tokens:,}",
                    fix=f"set cleaning.max_row_tokens = {limits.most_row_tokens}",
                )
            )
    most = limits.most_validation_rows
    if validation is not None and most is not None and validation.rows > most:
        problems.append(
            Problem(
                field="validation",
                message=f"{validation.rows:,} rows; {provider} takes {most:,}",
                fix="lower split.validation",
            )
        )
    return problems
