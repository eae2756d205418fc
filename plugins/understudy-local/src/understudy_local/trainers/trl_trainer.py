"""Training with TRL and PEFT: anywhere that torch runs."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from understudy.model import PAIRED_METHODS
from understudy_local.params import LocalParams
from understudy_local.trainers.base import Result, Run, Stopped, TrainingFailed

__all__ = ["Trl"]

_NEEDED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


class Trl:
    """A LoRA adapter by TRL's SFT and DPO trainers."""

    name = "trl"

    def why_not(self, device: str) -> str | None:  # noqa: ARG002 - it runs on any
        """Which package is missing."""
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if not missing:
            return None
        return (
            f"{', '.join(missing)} not installed: pip install torch==2.13.0, then "
            "pip install 'understudy-local[train]'"
        )

    def begin(self) -> None:
        """Nothing has to come first."""

    def load(self, run: Run) -> tuple[Any, Any, Any]:
        """The model, the tokenizer, and the adapter that TRL is to put on the model."""
        from peft import LoraConfig

        model, tokenizer = load_base(run)
        params = run.params
        adapter = LoraConfig(
            r=params.lora_rank,
            lora_alpha=params.lora_alpha or 2 * params.lora_rank,
            lora_dropout=params.lora_dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        return model, tokenizer, adapter

    def train(self, run: Run, into: Path) -> Result:
        """As the interface says."""
        from transformers import set_seed

        from understudy_local.trainers.callbacks import Following

        # Before the adapter is drawn, not only before the rows are.
        set_seed(run.seed, deterministic=run.device == "cpu")
        model, tokenizer, adapter = self.load(run)
        params = run.params
        rows, looks = _rows(run.train), _rows(run.validation)
        batch = params.batch_size * params.gradient_accumulation * params.gpus
        following = Following(
            run.folder,
            run.report,
            tokens_a_step=run.tokens / len(rows) * batch,
            keep=max(params.keep_checkpoints, 2),
        )
        trainer = _trainer(run, rows, looks, model=model, tokenizer=tokenizer, adapter=adapter)
        trainer.add_callback(following)
        _stop_early(trainer, params)
        resume = None if run.resume is None else os.fspath(run.resume)
        done = trainer.train(resume_from_checkpoint=resume)
        if following.stopped:
            raise Stopped
        # On a model that came with its adapter TRL keeps a copy of the start beside it.
        trainer.model.save_pretrained(os.fspath(into), selected_adapters=["default"])
        tokenizer.save_pretrained(os.fspath(into))
        return Result(
            steps=int(trainer.state.global_step),
            trained_tokens=round(run.tokens * float(trainer.state.epoch or 0)),
            metrics={"loss": float(done.training_loss), "peak_memory_bytes": run.report.peak},
        )


def load_base(run: Run) -> tuple[Any, Any]:
    """The student as it came, and its tokenizer with a chat template and a padding token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(os.fspath(run.base))
    if not tokenizer.chat_template:
        raise TrainingFailed(
            f"the student in {run.base} has no chat template, so it cannot be told where an "
            "answer begins: take its instruct version, or put a chat_template.jinja beside it",
            code="no_student",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    half = torch.bfloat16 if computes_in_bfloat16(run) else torch.float32
    model = AutoModelForCausalLM.from_pretrained(
        os.fspath(run.base),
        # On a GPU the frozen weights are held as they are computed with: half the memory.
        dtype=half if run.device == "cuda" else torch.float32,
        quantization_config=_quantized(run.params, half),
        device_map={"": 0} if run.params.quantize != "none" else None,
    )
    return model, tokenizer


def _quantized(params: LocalParams, compute: Any) -> Any:
    if params.quantize == "none":
        return None
    from transformers import BitsAndBytesConfig

    if params.quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def computes_in_bfloat16(run: Run) -> bool:
    """Whether to compute in bfloat16: as asked, else where the device has it in hardware."""
    import torch

    if run.params.precision != "auto":
        return run.params.precision == "bfloat16"
    if run.device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these instructions a CPU emulates it, many times slower.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # noqa: SLF001


def _rows(path: Path | None) -> Any:
    from datasets import Dataset

    return None if path is None else Dataset.from_file(os.fspath(path))


def arguments(run: Run, rows: int) -> dict[str, Any]:
    """What every trainer of transformers is told."""
    params = run.params
    total = params.steps(rows)
    every = params.checkpoint_steps or max(1, total // 10)
    looks = params.eval_steps or every
    watched = run.validation is not None and bool(params.eval_steps or params.early_stopping)
    best = params.early_stopping is not None
    return {
        "output_dir": os.fspath(run.folder.checkpoints),
        "num_train_epochs": params.n_epochs,
        "max_steps": params.max_steps or -1,
        "per_device_train_batch_size": params.batch_size,
        "per_device_eval_batch_size": params.batch_size,
        "gradient_accumulation_steps": params.gradient_accumulation,
        "learning_rate": params.rate(run.method),
        "lr_scheduler_type": params.scheduler,
        "warmup_steps": round(params.warmup_ratio * total),
        "weight_decay": params.weight_decay,
        "gradient_checkpointing": params.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "bf16": computes_in_bfloat16(run),
        "use_cpu": run.device == "cpu",
        "seed": run.seed,
        "logging_steps": 1,
        # The filter would show the last good loss in place of NaN.
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        # The best checkpoint can only be kept if one is written at every look.
        "save_steps": looks if best else every,
        "eval_strategy": "steps" if watched else "no",
        "eval_steps": looks if watched else None,
        "load_best_model_at_end": best,
        "metric_for_best_model": "eval_loss" if best else None,
        "greater_is_better": False if best else None,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": run.device == "cuda",
    }


def _trainer(run: Run, rows: Any, looks: Any, *, model: Any, tokenizer: Any, adapter: Any) -> Any:
    options = arguments(run, len(rows))
    shared = {
        "model": model,
        "processing_class": tokenizer,
        "peft_config": adapter,
        "train_dataset": rows,
        "eval_dataset": looks if options["eval_strategy"] == "steps" else None,
    }
    if run.method in PAIRED_METHODS:
        from understudy_local.trainers.pairs import PairTrainer, configuration

        gamma = run.params.bond_gamma if run.method == "bond" else 0.0
        return PairTrainer(
            args=configuration(run.method, options, run.params), gamma=gamma, **shared
        )
    from trl import SFTConfig, SFTTrainer

    packing = run.params.packing
    config = SFTConfig(
        **options,
        max_length=run.params.max_length,
        packing=packing,
        dataset_kwargs={} if packing else {"skip_prepare_dataset": True},
    )
    return SFTTrainer(args=config, **shared)


def _stop_early(trainer: Any, params: LocalParams) -> None:
    if params.early_stopping is not None:
        from transformers import EarlyStoppingCallback

        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=params.early_stopping))
