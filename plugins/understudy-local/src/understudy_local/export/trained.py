"""The trained model as it was trained: its answers, its logits, and its merged weights.

It is the base in float32 with the adapter on top, so what is exported is held against what was
trained and not against another copy of the export. Only this module needs torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.model import Json
from understudy_local.artifacts import Trained
from understudy_local.work import WorkFailed

__all__ = ["TrainedModel", "tokens_of"]

_AT_ONCE = 8
"""Questions that are answered together."""


class TrainedModel:
    """The trained model in memory.

    Args:
        trained: where it is.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads; None leaves it to torch.
    """

    def __init__(self, trained: Trained, *, device: str, threads: int | None) -> None:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if threads is not None:
            torch.set_num_threads(threads)
        self._device = device
        self.tokenizer: Any = AutoTokenizer.from_pretrained(os.fspath(trained.adapter))
        base = AutoModelForCausalLM.from_pretrained(os.fspath(trained.base), dtype=torch.float32)
        self._model: Any = PeftModel.from_pretrained(base, os.fspath(trained.adapter)).to(device)
        self._model.eval()

    def logits(self, tokens: Sequence[int]) -> Any:
        """The logits after every token: a float32 array of shape (tokens, vocabulary)."""
        import torch

        with torch.inference_mode():
            found = self._model(torch.tensor([list(tokens)], device=self._device)).logits[0]
        return found.float().cpu().numpy()

    def answers(
        self, rows: Sequence[Mapping[str, Json]], *, max_output_tokens: int
    ) -> Iterator[str]:
        """The most likely answer to every row's question, in order."""
        import torch

        for start in range(0, len(rows), _AT_ONCE):
            asked = [
                tokens_of(self.tokenizer, row["messages"], row.get("tools"))
                for row in rows[start : start + _AT_ONCE]
            ]
            longest = max(map(len, asked))
            pad = self._padding()
            ids = torch.tensor([[pad] * (longest - len(one)) + one for one in asked])
            mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in asked])
            with torch.inference_mode():
                said = self._model.generate(
                    input_ids=ids.to(self._device),
                    attention_mask=mask.to(self._device),
                    max_new_tokens=max_output_tokens,
                    do_sample=False,
                    pad_token_id=pad,
                )
            for one in said[:, longest:]:
                yield self.tokenizer.decode(one, skip_special_tokens=True)

    def _padding(self) -> int:
        for one in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if one is not None:
                return int(one)
        return 0

    def save_merged(self, into: Path) -> None:
        """Write base and adapter as one model, with tokenizer and chat template.

        Half precision: float16 has more digits than bfloat16, and what does not fit into its
        range goes to bfloat16. Afterwards this object is of no use.
        """
        import torch

        merged = self._model.merge_and_unload()
        narrow = any(not torch.isfinite(one.half()).all() for one in merged.parameters())
        merged = merged.to(torch.bfloat16 if narrow else torch.float16)
        merged.generation_config.eos_token_id = self.tokenizer.eos_token_id
        merged.generation_config.pad_token_id = self._padding()
        merged.save_pretrained(os.fspath(into), max_shard_size="1000GB")
        self.tokenizer.save_pretrained(os.fspath(into))


def tokens_of(
    tokenizer: Any, messages: Sequence[Mapping[str, Json]], tools: Json, *, ask: bool = True
) -> list[int]:
    """Messages through the student's chat template.

    Raises:
        WorkFailed: the template refuses them.
    """
    plain = [{**message, "content": message.get("content") or ""} for message in messages]
    try:
        found = tokenizer.apply_chat_template(
            plain,
            tools=tools or None,
            add_generation_prompt=ask,
            tokenize=True,
            return_dict=False,
        )
    except Exception as error:  # noqa: BLE001 - a template raises what it likes
        # Its words may quote the row.
        raise WorkFailed(
            f"the student's chat template refuses a held-out row ({type(error).__name__})",
            code="bad_rows",
        ) from None
    return list(found)
