"""A tiny model that llama.cpp takes, with an adapter that was drawn and not trained."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_kit import CHATML, make_backend, until, write_rows
from understudy.model import ExportSpec, Handle, RemoteStatus
from understudy_local.artifacts import Home, sha256_of, write_json
from understudy_local.backend import LocalBackend
from understudy_local.export.order import ExportOrder, to_json
from understudy_local.serving import pool
from understudy_local.serving.models import Served
from understudy_local.students import locate
from understudy_local.work import Work, begin

FORMATS = ("f16", "q8_0", "q4_k_m")
MODEL = "ft:tiny:job-1"
_WORDS = ("lamp", "red", "green", "door", "kitchen", "two")


def make_llama(folder: Path) -> Path:
    """A random Llama with SmolLM2's tokenizer: llama.cpp's converter knows few tokenizers."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    gguf = Path(locate("smollm2-135m").at)
    tokenizer: Any = AutoTokenizer.from_pretrained(os.fspath(gguf.parent), gguf_file=gguf.name)
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        # The default of max_length must fit in.
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        # Wide enough that the logits are not all alike.
        initializer_range=0.3,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_trained(home: Path, base: Path, job: str = "job-1") -> str:
    """A job that has succeeded, with a drawn adapter; the model's id."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Home(home).job(job)
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(os.fspath(base))
    adapter = LoraConfig(
        r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
    )
    get_peft_model(model, adapter).save_pretrained(os.fspath(folder.adapter))
    AutoTokenizer.from_pretrained(os.fspath(base)).save_pretrained(os.fspath(folder.adapter))
    write_json(
        folder.outcome,
        {
            "state": "succeeded",
            "base": os.fspath(base),
            "base_model": "tiny",
            "licence": "none",
            "adapter_sha256": sha256_of(folder.adapter / "adapter_model.safetensors"),
        },
    )
    return f"ft:tiny:{job}"


def held_out(folder: Path, count: int = 6) -> Path:
    """Questions with wanted answers, in the form of a dataset's test rows."""
    path = folder / "held-out.jsonl"
    lines = [
        {
            "id": f"row-{number}",
            "messages": [{"role": "user", "content": " ".join(_WORDS[: 1 + number % 6])}],
            "tools": [],
            "label": _WORDS[number % 6],
        }
        for number in range(count)
    ]
    write_rows(path, lines)
    return path


def export_spec(file: Path, model: str = MODEL, **more: Any) -> ExportSpec:
    told: dict[str, Any] = {
        "base_model": "tiny",
        "name": "lamps",
        "formats": FORMATS,
        "serve": "q4_k_m",
        "rows": 4,
        "max_output_tokens": 4,
    }
    return ExportSpec(
        model=model,
        held_out=os.fspath(file),
        held_out_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        **told | more,
    )


def ordered(home: Path, spec: ExportSpec, key: str = "export-1") -> Work:
    """An export's folder whose process is the test itself."""
    settings = make_backend(home).settings
    work = Work(home / "jobs" / "job-1" / "exports" / key)
    begin(work, to_json(ExportOrder(key=key, created_at=1.0, spec=spec, settings=settings)))
    return work


def ended(backend: LocalBackend, handle: Handle, *, seconds: float = 300.0) -> RemoteStatus:
    """Look until the export has ended."""

    def look() -> RemoteStatus | None:
        status = backend.poll_export(handle)
        return status if status.state.terminal else None

    status: RemoteStatus = until(look, seconds=seconds)
    return status


@contextmanager
def no_servers_left(home: Path) -> Iterator[None]:
    """End every model's server of ``home``."""
    try:
        yield
    finally:
        for told in home.glob("servers/*/server.json"):
            pool.end_folder(told.parent)


def bundled() -> Served:
    """SmolLM2 as it came in its package: a file that answers."""
    return Served(name="smollm2-135m", path=Path(locate("smollm2-135m").at))
