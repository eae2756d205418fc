"""The formats of exported files, and where the files of a trained model stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy_local.artifacts import JobFolder, ModelName

__all__ = ["FORMATS", "FileName", "Format", "gguf_file"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One kind of GGUF file.

    ``ftype`` is llama.cpp's number of it (``enum llama_ftype``); ``bits`` about how many a weight
    takes. The limits hold it against the trained model on held-out rows: mean KL divergence in
    nats, share of tokens with the same most likely next token, and perplexity as a multiple of
    the trained model's. None: the task's score alone decides.
    """

    ftype: int
    bits: float
    most_kl: float | None = None
    least_top1: float | None = None
    most_perplexity: float | None = None


FORMATS: Mapping[str, Format] = {
    "f16": Format(ftype=1, bits=16.0, most_kl=1e-3, least_top1=0.99, most_perplexity=1.01),
    "q8_0": Format(ftype=7, bits=8.5, most_perplexity=1.06),
    "q6_k": Format(ftype=18, bits=6.6),
    "q5_k_m": Format(ftype=17, bits=5.7),
    "q5_k_s": Format(ftype=16, bits=5.5),
    "q5_0": Format(ftype=8, bits=5.5),
    "q4_k_m": Format(ftype=15, bits=4.8),
    "q4_k_s": Format(ftype=14, bits=4.6),
    "q4_0": Format(ftype=2, bits=4.5),
    "q3_k_m": Format(ftype=12, bits=3.9),
    "q2_k": Format(ftype=10, bits=3.2),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FileName:
    """The id of an exported file: the trained model's id, a colon, the format."""

    model: str
    format: str

    def __str__(self) -> str:
        return f"{self.model}:{self.format}"

    @classmethod
    def parse(cls, text: str) -> FileName | None:
        """The two parts; None where ``text`` names no exported file."""
        model, _, name = text.rpartition(":")
        if name in FORMATS and ModelName.parse(model) is not None:
            return cls(model=model, format=name)
        return None


def gguf_file(folder: JobFolder, step: int | None, name: str) -> Path:
    """Where a file stands; ``step`` is that of a checkpoint, None for the job's own model."""
    stem = "model" if step is None else f"model-step-{step}"
    return folder.gguf / f"{stem}-{name}.gguf"
