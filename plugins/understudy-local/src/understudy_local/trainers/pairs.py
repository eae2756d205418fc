"""Preference pairs: DPO, and BOND as a blend with supervised loss and KL to the start.

``bond`` minimises, over pairs of a preferred answer y+ and a dispreferred one y- to a prompt x::

    L = (1 - b) * NLL(y+ | x)  +  b * DPO(x, y+, y-)  +  g * KL(pi || pi_0)

    NLL(y+|x)      = mean over the tokens of y+ of -log pi(token | before)
    DPO(x, y+, y-) = -log sigmoid(dpo_beta * [log pi/pi_0 (y+|x) - log pi/pi_0 (y-|x)])
    KL(pi || pi_0) = mean over the answers' tokens of the exact divergence between the two
                     distributions over the vocabulary

with b = ``bond_beta``, g = ``bond_gamma``, and pi_0 the student as it was at the start.

Source: Sessa et al. 2024, "BOND: Aligning LLMs with Best-of-N Distillation" (arXiv 2407.14622).
They minimise a Jeffreys divergence to the best-of-N distribution: (1 - b) times the forward KL,
which is the supervised loss on the best of N answers, plus b times the backward KL, with a further
KL to an anchor weighted by g. The backward KL needs answers sampled anew at every step and a
judge beside them. Here rows are fixed, so preference optimisation (Rafailov et al. 2023, arXiv
2305.18290) stands in for it: it, too, takes probability from what lost against the best. The
anchor is the start, not a moving average; that is J-BOND, which this plugin does not have.
"""

from __future__ import annotations

from typing import Any

import torch
from trl import DPOConfig, DPOTrainer

__all__ = ["PairTrainer", "loss_of", "token_kl"]


def loss_of(method: str, bond_beta: float) -> dict[str, Any]:
    """TRL's names and weights of the losses of ``dpo`` and ``bond``."""
    if method == "dpo" or bond_beta == 1:
        return {"loss_type": ["sigmoid"], "loss_weights": [1.0]}
    if bond_beta == 0:
        return {"loss_type": ["sft"], "loss_weights": [1.0]}
    return {"loss_type": ["sigmoid", "sft"], "loss_weights": [bond_beta, 1 - bond_beta]}


def token_kl(logits: torch.Tensor, start: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over masked tokens of KL(pi || pi_0), exact over the vocabulary.

    Args:
        logits: of the student now, (batch, length, vocab).
        start: of the student at the start, the same shape.
        mask: 1 where the next token belongs to an answer, (batch, length).
    """
    chosen = mask.bool()
    # Only the answers' places: the rest would fill the memory for nothing.
    now = torch.log_softmax(logits[chosen].float(), dim=-1)
    then = torch.log_softmax(start[chosen].float(), dim=-1)
    return (now.exp() * (now - then)).sum(dim=-1).mean()


class PairTrainer(DPOTrainer):  # type: ignore[misc]
    """TRL's DPO on rows that are tokens already, plus ``gamma`` times the KL to the start.

    The start is the model without its adapter, so the adapter must be a fresh one.
    """

    def __init__(self, *, gamma: float = 0.0, **options: Any) -> None:
        self.gamma = gamma
        super().__init__(**options)

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        # Rows come as prompt_ids, chosen_ids, rejected_ids: what TRL would make of them here.
        return dataset

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """TRL's loss, and the KL on top."""
        made = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not self.gamma:
            return made
        kl = self._kl(model, inputs)
        mode = "train" if model.training else "eval"
        self._metrics[mode]["kl"].append(kl.item())
        if return_outputs:
            return made[0] + self.gamma * kl, made[1]
        return made + self.gamma * kl

    def _kl(self, model: Any, inputs: Any) -> torch.Tensor:
        given = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        mask = inputs["completion_mask"][:, 1:]
        plain = self.accelerator.unwrap_model(model)
        with torch.no_grad(), plain.disable_adapter():
            start = model(**given, use_cache=False).logits[:, :-1]
        now = model(**given, use_cache=False).logits[:, :-1]
        return token_kl(now, start, mask)


def configuration(method: str, options: dict[str, Any], params: Any) -> DPOConfig:
    """TRL's configuration for a method on pairs."""
    return DPOConfig(
        **options,
        **loss_of(method, params.bond_beta),
        beta=params.dpo_beta,
        max_length=params.max_length,
    )
