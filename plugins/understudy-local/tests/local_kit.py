"""A tiny student made here, rows for it, and hands at a backend of the test's own folder."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from understudy.model import Handle, JobSpec, RemoteStatus, Rows
from understudy.testing import ManualClock
from understudy_local.backend import LocalBackend
from understudy_local.settings import LocalSettings

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
COLOURS = ("red", "green", "blue", "white", "black")
# Forking would copy torch's threads; they are of no use in tests anyhow.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def make_tiny(folder: Path, *, template: str | None = CHATML, layers: int = 2) -> Path:
    """A Llama of a few thousand weights, drawn at random, with a tokenizer of bytes."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    words = {word: number for number, word in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in special])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>"
    )
    fast.chat_template = template
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def write_rows(path: Path, lines: list[dict[str, Any]]) -> Rows:
    """Rows as the core hands them over."""
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    sizes = [len(json.dumps(line)) // 4 for line in lines]
    return Rows(
        path=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        rows=len(lines),
        tokens=sum(sizes),
        longest=max(sizes, default=0),
        bytes=len(data),
    )


def chats(count: int = 24, seed: int = 3) -> list[dict[str, Any]]:
    """Small chat rows with something to learn."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        colour = rng.choice(COLOURS)
        asked = {"role": "user", "content": f"lamp {colour} {rng.randrange(100)}"}
        made.append({"messages": [asked, {"role": "assistant", "content": colour.upper()}]})
    return made


def pairs(count: int = 24, seed: int = 3) -> list[dict[str, Any]]:
    """Preference pairs: the colour is preferred to its length."""
    return [
        {
            "input": {"messages": row["messages"][:1]},
            "preferred_output": row["messages"][1:],
            "non_preferred_output": [
                {"role": "assistant", "content": str(len(row["messages"][1]["content"]))}
            ],
        }
        for row in chats(count, seed)
    ]


def job_spec(
    folder: Path, student: Path | str, method: str = "supervised", rows: int = 24, **more: Any
) -> JobSpec:
    """A small job for the student; ``more`` are hyperparameters."""
    lines = pairs(rows) if method in {"dpo", "bond"} else chats(rows)
    return JobSpec(
        base_model=str(student),
        method=method,  # type: ignore[arg-type]
        training=write_rows(folder / f"{method}-{rows}.jsonl", lines),
        hyperparameters={"max_steps": 4, "batch_size": 4, "max_length": 128, **more},
        seed=11,
    )


def make_backend(home: Path, cls: type[LocalBackend] = LocalBackend, **more: Any) -> LocalBackend:
    """A backend of its own folder on one thread of the CPU; looks often."""
    told = {"threads": 1, "device": "cpu", "poll_interval": 0.05, "offline": True, **more}
    settings = LocalSettings(home=home, **told)
    return cls(name="local", settings=settings, clock=ManualClock())


def start(backend: LocalBackend, spec: JobSpec, key: str = "job-1") -> Handle:
    """Upload and create, as the engine does."""
    return backend.create(spec, backend.upload(spec, key=key), key=key)


def until(look: Callable[[], Any], *, seconds: float = 100.0) -> Any:
    """Look until what is seen is true; another process does the work meanwhile."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)
    return seen


def finished(backend: LocalBackend, handle: Handle, *, seconds: float = 100.0) -> RemoteStatus:
    """Look until the job has ended."""

    def look() -> RemoteStatus | None:
        status = backend.poll(handle)
        return status if status.state.terminal else None

    status: RemoteStatus = until(look, seconds=seconds)
    return status


FAKE_WORKER = (str(Path(__file__).with_name("fake_worker.py")),)


def fake_backend(home: Path, **more: Any) -> LocalBackend:
    """A backend whose workers are real and whose trainer is not; see ``script``."""
    backend = make_backend(home, **more)
    backend.machine.worker = FAKE_WORKER
    return backend


def fake_student(folder: Path) -> Path:
    """A folder that looks like a model to all but torch."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "vocab_size": 300,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
    }
    (folder / "config.json").write_text(json.dumps(shape))
    return folder


def script(home: Path, word: str) -> None:
    """What fake trainers do from now on."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "script").write_text(word)
