"""Training throughput through the local backend's trainer beside a plain TRL script.

Same student, rows, settings and seed; one run of each after the other, in turns, each in a process
of its own. Prints the median of the ratio. Run: python benchmarks/local_throughput.py [pairs]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "plugins" / "understudy-local" / "tests"))

STEPS = 25
SETTINGS = {"max_steps": STEPS, "batch_size": 8, "checkpoint_steps": STEPS, "precision": "float32"}


def make_student(folder: Path) -> Path:
    """A Llama of 14 million weights, drawn at random, with a tokenizer of bytes."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from local_kit import make_tiny

    make_tiny(folder)
    words = len(AutoTokenizer.from_pretrained(folder))
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=8,
        num_attention_heads=6,
        max_position_embeddings=512,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def ours(folder: Path, student: Path) -> None:
    """Train by the plugin's trainer."""
    from trainer_kit import fit

    fit(folder, student, rows=STEPS * 8, learning_rate=2e-4, **SETTINGS)


def plain(folder: Path, student: Path) -> None:
    """Train as the documentation of TRL has it."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from trl import SFTConfig, SFTTrainer

    from local_kit import chats

    rows = folder / "rows.jsonl"
    pairs = [
        {"prompt": row["messages"][:1], "completion": row["messages"][1:]}
        for row in chats(STEPS * 8)
    ]
    rows.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    set_seed(5, deterministic=True)
    adapter = LoraConfig(
        r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=0.0
    )
    config = SFTConfig(
        output_dir=str(folder / "checkpoints"),
        max_steps=STEPS,
        per_device_train_batch_size=8,
        learning_rate=2e-4,
        max_length=128,
        seed=5,
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        save_strategy="steps",
        save_steps=STEPS,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(student),
        train_dataset=load_dataset(
            "json", data_files=str(rows), split="train", cache_dir=str(folder / "cache")
        ),
        args=config,
        peft_config=adapter,
    )
    trainer.train()


def timed(folder: Path) -> dict[str, Any]:
    """Seconds of training by the library's own count, and the last loss, out of its state."""
    state = json.loads(
        (folder / "checkpoints" / f"checkpoint-{STEPS}" / "trainer_state.json").read_text()
    )
    losses = [row["loss"] for row in state["log_history"] if "loss" in row]
    return {"loss": losses[-1]}


def run(kind: str, student: Path, folder: Path) -> tuple[float, float, float]:
    """(CPU seconds, seconds, last loss) of one run's steps, start-up left out."""
    folder.mkdir()
    command = [sys.executable, __file__, kind, str(student), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]
    cpu, wall = map(float, done.split())
    return cpu, wall, timed(folder)["loss"]


def measured(kind: str, student: Path, folder: Path) -> None:
    """In the process of one run: print what its training loop took."""
    from transformers import Trainer

    spent: list[float] = []
    real = Trainer.train

    def train(self: Any, *args: Any, **options: Any) -> Any:
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            return real(self, *args, **options)
        finally:
            spent.extend((time.process_time() - cpu, time.perf_counter() - wall))

    Trainer.train = train  # type: ignore[method-assign]
    {"ours": ours, "plain": plain}[kind](folder, student)
    print(*spent)


def main(pairs: int) -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        student = make_student(base / "student")
        cpu, wall, losses = [], [], []
        for number in range(pairs):
            order = ("plain", "ours") if number % 2 else ("ours", "plain")
            took = {kind: run(kind, student, base / f"{kind}-{number}") for kind in order}
            cpu.append(took["plain"][0] / took["ours"][0])
            wall.append(took["plain"][1] / took["ours"][1])
            losses.append((took["ours"][2], took["plain"][2]))
    print(f"{pairs} interleaved pairs of {STEPS} steps, one thread, student of 14M weights")
    print("| throughput of ours over plain TRL | median | least | most |")
    print("| --- | --- | --- | --- |")
    for name, ratios in (("by CPU seconds", cpu), ("by the clock", wall)):
        row = f"{statistics.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f}"
        print(f"| {name} | {row} |")
    print(f"last loss, ours and plain: {losses[0][0]:.4f}, {losses[0][1]:.4f}")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        measured(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
