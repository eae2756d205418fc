"""What stands beside the files: an Ollama Modelfile and the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.model import ExportedFile, Json

__all__ = ["modelfile", "write_card", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_name(f".part-{path.name}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def modelfile(gguf: str, *, stop: str, context: int) -> str:
    """For ``ollama create NAME -f Modelfile``.

    There is no TEMPLATE: Ollama takes the chat template out of the file.
    """
    lines = [f"FROM ./{gguf}", "PARAMETER temperature 0", f"PARAMETER num_ctx {context}"]
    if stop:
        lines.append(f'PARAMETER stop "{stop}"')
    return "\n".join(lines) + "\n"


def write_card(
    path: Path, *, card: Mapping[str, Json], licence: str, files: Sequence[ExportedFile]
) -> None:
    """The model card: what it is, what it came from, how near each file is to what was trained."""
    lineage = card["lineage"]
    scores = card.get("scores", {})
    lines = [
        f"# {card['name']}",
        "",
        f"A student of {lineage.get('base_model', 'a model')}, trained by Understudy.",
        "",
        "## Licence",
        f"The base model's: {licence}. The training data may add its own terms.",
        "",
        "## Lineage",
        *(f"- {name}: `{_shown(value)}`" for name, value in lineage.items()),
        "",
        "## Files",
        f"Scores on held-out rows; before the export: {scores.get('trained', 'not measured')}.",
        "",
        "| file | bytes | sha256 | score | KL (nats) | top-1 | perplexity (trained) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_row(one, scores) for one in files),
    ]
    write_text(path, "\n".join(lines) + "\n")


def _row(one: ExportedFile, scores: Mapping[str, Any]) -> str:
    told = one.measures
    figures = ["", "", ""]
    if "kl" in told:
        figures = [
            f"{told['kl']:.2g}",
            f"{told['top1']:.3f}",
            f"{told['perplexity']:.4g} ({told['trained_perplexity']:.4g})",
        ]
    cells = [
        Path(one.path).name,
        f"{one.bytes:,}",
        f"`{one.sha256}`",
        str(scores.get(one.format, "")),
        *figures,
    ]
    return f"| {' | '.join(cells)} |"


def _shown(value: Json) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={one}" for name, one in value.items()) or "none"
    return str(value)
