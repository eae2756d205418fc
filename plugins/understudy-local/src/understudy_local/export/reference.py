"""What the trained model says, kept so that each file can be held against it without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from understudy.model import ExportSpec, Json
from understudy_local.artifacts import read_json, write_json
from understudy_local.export.room import TOKENS
from understudy_local.export.trained import TrainedModel, tokens_of
from understudy_local.work import WorkFailed

__all__ = ["Reference", "held_out", "read_answers", "write_answers"]


def held_out(spec: ExportSpec) -> list[dict[str, Json]]:
    """The first rows of the held-out file.

    Raises:
        WorkFailed: the file is gone or is not the one that was meant.
    """
    path = Path(spec.held_out)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            rows = [orjson.loads(line) for line in islice(file, spec.rows)]
    except OSError as error:
        raise WorkFailed(
            f"the held-out rows cannot be read from {path} ({error.strerror}); run the recipe "
            "again, which makes the dataset anew",
            code="bad_rows",
        ) from None
    if digest != spec.held_out_sha256:
        raise WorkFailed(
            f"{path} was changed since the job began; remove the dataset's folder and run the "
            "recipe again",
            code="bad_rows",
        )
    return rows


def write_answers(path: Path, answers: Iterator[str]) -> None:
    """One answer a line, whole or not at all."""
    part = path.with_name(f".part-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as file:
        for text in answers:
            file.write(orjson.dumps({"text": text}, option=orjson.OPT_APPEND_NEWLINE))
    part.replace(path)


def read_answers(path: Path) -> Iterator[str]:
    """What ``write_answers`` wrote, streamed."""
    with path.open("rb") as file:
        for line in file:
            yield orjson.loads(line)["text"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The trained model's logits over held-out texts, in a folder.

    ``facts.json`` has the texts as tokens, and what a file must carry over; ``N.npy`` the logits
    after every token of the text N, float32 of shape (tokens, vocabulary).
    """

    folder: Path

    def facts(self) -> dict[str, Any] | None:
        """``texts`` (each ``text`` and ``tokens``), ``template``, ``end``; None before they are."""
        return read_json(self.folder / "facts.json")

    def logits(self, number: int) -> Any:
        """Of the text ``number``, mapped and not read."""
        import numpy as np

        return np.load(self.folder / f"{number}.npy", mmap_mode="r")

    def take(self, model: TrainedModel, rows: Sequence[Mapping[str, Json]]) -> None:
        """Ask the trained model."""
        import numpy as np

        self.folder.mkdir(parents=True, exist_ok=True)
        texts = _texts(model.tokenizer, rows)
        for number, one in enumerate(texts):
            np.save(self.folder / f"{number}.npy", model.logits(one["tokens"]))
        told = {
            "texts": texts,
            "template": str(model.tokenizer.chat_template or ""),
            "end": model.tokenizer.eos_token_id,
            "end_text": str(model.tokenizer.eos_token or ""),
        }
        write_json(self.folder / "facts.json", told)

    def forget_logits(self) -> None:
        """They are large, and of no use once every file was held against them."""
        for one in self.folder.glob("*.npy"):
            one.unlink()


def _texts(tokenizer: Any, rows: Sequence[Mapping[str, Json]]) -> list[dict[str, Any]]:
    """Whole conversations with the wanted answer, until there are tokens enough."""
    made: list[dict[str, Any]] = []
    left = TOKENS
    for row in rows:
        messages = [*row["messages"], {"role": "assistant", "content": row["label"]}]
        tokens = tokens_of(tokenizer, messages, row.get("tools"), ask=False)[:left]
        if len(tokens) > 1:
            made.append({"text": tokenizer.decode(tokens), "tokens": tokens})
            left -= len(tokens)
        if left <= 1:
            break
    return made
