"""Training with Unsloth: the same trainers of TRL on a model that Unsloth has made faster.

Unsloth is only ever imported from where the user installed it; parts of it are AGPL, and none of
its code is here.
"""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec
from typing import Any

from understudy_local.trainers.base import Run, TrainingFailed
from understudy_local.trainers.trl_trainer import Trl, computes_in_bfloat16

__all__ = ["Unsloth"]


class Unsloth(Trl):
    """TRL's trainers, with model and adapter made by Unsloth."""

    name = "unsloth"

    def why_not(self, device: str) -> str | None:
        """Not installed. Without a GPU it trains on the CPU, where it is asked for by name."""
        if find_spec("unsloth") is None:
            return "unsloth is not installed: see README.md for the set of versions that fits"
        return super().why_not(device)

    def begin(self) -> None:
        """Unsloth changes transformers and TRL as they are imported."""
        # It would install and download on its own otherwise.
        os.environ.setdefault("UNSLOTH_AUTO_INSTALL", "0")
        os.environ.setdefault("UNSLOTH_LLAMA_CPP_OFFLINE", "1")
        importlib.import_module("unsloth")

    def load(self, run: Run) -> tuple[Any, Any, Any]:
        """The model with a fresh adapter on it already, and the tokenizer."""
        import torch
        from unsloth import FastLanguageModel

        params = run.params
        model, tokenizer = FastLanguageModel.from_pretrained(
            model_name=os.fspath(run.base),
            max_seq_length=params.max_length,
            dtype=torch.bfloat16 if computes_in_bfloat16(run) else torch.float32,
            load_in_4bit=params.quantize == "4bit",
            load_in_8bit=params.quantize == "8bit",
        )
        if not tokenizer.chat_template:
            raise TrainingFailed(
                f"the student in {run.base} has no chat template: take its instruct version",
                code="no_student",
            )
        model = FastLanguageModel.get_peft_model(
            model,
            r=params.lora_rank,
            lora_alpha=params.lora_alpha or 2 * params.lora_rank,
            lora_dropout=params.lora_dropout,
            use_gradient_checkpointing="unsloth" if params.gradient_checkpointing else False,
            random_state=run.seed,
        )
        return model, tokenizer, None
