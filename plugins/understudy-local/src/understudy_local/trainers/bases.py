"""A student made ready to train: a Hugging Face folder on this machine, prepared once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock

from understudy_local.artifacts import Home, sha256_of
from understudy_local.students import Source
from understudy_local.trainers.base import TrainingFailed

__all__ = ["prepare_base"]

_WEIGHTS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


def prepare_base(source: Source, home: Home, *, token: str | None, offline: bool) -> Path:
    """The folder to train from; a GGUF file is converted, a hub model fetched, at most once.

    Raises:
        TrainingFailed: it is not there, cannot be fetched, or is not what it should be.
    """
    if source.kind == "folder":
        return Path(source.at)
    if source.kind == "hub":
        return _fetched(source, token=token, offline=offline)
    digest = sha256_of(Path(source.at))
    if source.sha256 not in {None, digest}:
        raise TrainingFailed(
            f"{source.at} is not the file that it should be (sha256 {digest[:12]}..., expected "
            f"{str(source.sha256)[:12]}...): install its package again",
            code="no_student",
        )
    ready = home.bases / digest[:32]
    home.bases.mkdir(parents=True, exist_ok=True)
    # Two jobs with one student wait for each other: the second finds the folder.
    with FileLock(home.bases / f"{digest[:32]}.lock"):
        if not ready.is_dir():
            part = home.bases / f".{digest[:32]}.part"
            shutil.rmtree(part, ignore_errors=True)
            _convert(Path(source.at), part)
            part.replace(ready)
    return ready


def _convert(gguf: Path, into: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place, name = os.fspath(gguf.parent), gguf.name
    tokenizer: Any = AutoTokenizer.from_pretrained(place, gguf_file=name)
    model: Any = AutoModelForCausalLM.from_pretrained(
        place,
        gguf_file=name,
        dtype=torch.float32,
        # Without it the model cannot be saved.
        quantization_config=GgufConfig(dequantize=True),
    )
    # GGUF holds no generation settings of the kind that transformers reads.
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(into)
    tokenizer.save_pretrained(into)


def _fetched(source: Source, *, token: str | None, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                source.at,
                allow_patterns=list(_WEIGHTS),
                token=token or None,
                local_files_only=offline,
            )
        )
    except GatedRepoError:
        message = (
            f"{source.at} is gated: accept its licence on its page at the hub, then set HF_TOKEN "
            "to a token that may read it; or choose a student that is not (`understudy students`)"
        )
        raise TrainingFailed(message, code="no_student") from None
    except LocalEntryNotFoundError:
        message = (
            f"{source.at} is not on this machine, and the hub cannot be asked (offline, or no "
            "connection). Bring it with `hf download` where there is one, or give a folder or a "
            "GGUF file as train.base_model; smollm2-135m comes from the package registry"
        )
        raise TrainingFailed(message, code="no_student") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        message = f"{source.at} cannot be fetched from the hub: {type(error).__name__}"
        raise TrainingFailed(message, code="no_student") from None
