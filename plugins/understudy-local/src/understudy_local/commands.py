"""``understudy students``: which open models can be trained here, and what each needs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from understudy.errors import ConfigError, NotFound
from understudy_local.devices import kind_of, memory_of
from understudy_local.estimate import GIB, memory
from understudy_local.params import LocalParams
from understudy_local.students import Student, locate, tasks
from understudy_local.students import students as table

__all__ = ["least_gpu", "students"]

_CARDS = (4, 6, 8, 12, 16, 24, 32, 40, 48, 80, 96, 141)
_TOKENS = 1024


def least_gpu(student: Student, *, quantize: str) -> int | None:
    """The smallest common card, in GB, that trains it on rows of 1,024 tokens, one at a time."""
    params = LocalParams.model_validate({"batch_size": 1, "quantize": quantize})
    need = memory(student.shape, params, method="supervised", longest=_TOKENS, kind="cuda")
    # A card's system takes its part.
    return next((card for card in _CARDS if need.total / GIB + 0.5 <= card * 0.93), None)


def students(
    *,
    task: Annotated[
        str | None, typer.Option(help="Only those large enough for a task; see the end.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the students that are known by a short name."""
    floors = {one.name: one for one in tasks()}
    if task is not None and task not in floors:
        raise ConfigError(f"there is no task {task!r}; valid: {', '.join(floors)}")
    least = floors[task].least if task else 0.0
    # A name a little under a round number (0.6B has 596 million) counts as that number.
    rows = [_row(one) for one in table().values() if one.shape.params >= least * 0.97]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    _print(rows)
    typer.echo("\nLeast size by task:")
    for one in floors.values():
        typer.echo(f"  {one.name:17} {one.least / 1e9:g}B  {one.words}")
    typer.echo(
        "\nGB of GPU memory are estimates for rows of 1,024 tokens, one at a time; not measured "
        "on a GPU.\nAny other Hugging Face id, folder or GGUF file can be a student as well."
    )
    _here()


def _row(student: Student) -> dict[str, Any]:
    return {
        "name": student.name,
        "id": student.id,
        "family": student.family,
        "parameters": int(student.shape.params),
        "licence": student.licence,
        "context": student.shape.context,
        "template": student.template,
        "gated": student.gated,
        "lora_gb": least_gpu(student, quantize="none"),
        "qlora_gb": least_gpu(student, quantize="4bit"),
        "source": _source(student),
    }


def _source(student: Student) -> str:
    if student.package is None:
        return "hub, gated" if student.gated else "hub"
    try:
        locate(student.name)
    except NotFound:
        return student.package.install
    return "on this machine"


def _print(rows: list[dict[str, Any]]) -> None:
    head = ("name", "size", "context", "template", "LoRA GB", "QLoRA GB", "licence", "from")
    lines = [
        (
            row["name"],
            f"{row['parameters'] / 1e9:.2g}B",
            str(row["context"]),
            row["template"],
            str(row["lora_gb"] or "-"),
            str(row["qlora_gb"] or "-"),
            row["licence"],
            row["source"],
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in (head, *lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _here() -> None:
    kind = kind_of("auto")
    have = memory_of(kind)
    if have is not None:
        name = have.name if kind == "cuda" else "no CUDA GPU; the CPU trains the smallest of them"
        typer.echo(f"Here: {name}, {have.total / GIB:.0f} GiB.")
