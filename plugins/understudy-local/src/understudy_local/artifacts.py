"""The folders that everything of this backend lives in, and how files in them are written.

::

    HOME/
      uploads/<id>/            train.jsonl, validation.jsonl: the rows of one intent
      jobs/<id>/               one training job; the folder is named by the key of its intent
        spec.json              what to do; written before the folder appears, never changed
        wish-cancel, wish-pause  a person's wishes; they are there or they are not
        worker.lock            held by the worker of the job as long as it lives
        spawned.json           the process that was started last to be the worker
        worker.json            which process is the worker, since when, and what it is doing
        heartbeat.json         where training stands; written by the trainer at every step
        log.jsonl              the training log, one event a line
        output.txt             what the processes printed
        rows/                  the rows as tokens; *.rejected.jsonl: those that could not be used
        checkpoints/           checkpoint-N/, each with the file ``complete`` once it is whole
        adapter/               the trained LoRA adapter (PEFT)
        merged/                the trained model, adapter merged in (Hugging Face); by the export
        gguf/                  GGUF files, model card, Modelfile; by the export
        exports/<id>/          one export: its process, proof and answers (see work.py)
        failure.json           why the trainer gave up; the worker makes the outcome of it
        outcome.json           how the job ended; written once, and final
      bases/<id>/              students made ready to train: Hugging Face folders
      slots/                   locks: one job at a time on a device
      servers/<id>/            the server of one GGUF file (see serving/pool.py)
      batches/<id>/            one batch of requests; uploads/ has the rows (see work.py)

Every JSON file appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from understudy.errors import NotFound

__all__ = [
    "Home",
    "JobFolder",
    "ModelName",
    "Trained",
    "folder_id",
    "read_json",
    "sha256_of",
    "trained",
    "write_json",
    "write_once",
]

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_CHUNK = 1 << 20


def folder_id(key: str) -> str:
    """The name of the folder for an intent's key: one key, one folder."""
    if _PLAIN.fullmatch(key):
        return key
    # A key with other characters; the digest alone tells two of them apart.
    words = re.sub(r"[^A-Za-z0-9]+", "-", key).strip("-")[:40]
    return f"{words or 'key'}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no such file."""
    try:
        value = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return value if isinstance(value, dict) else None


def _written(path: Path, value: Mapping[str, Any], *, durable: bool) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with temporary.open("xb") as file:
        file.write(orjson.dumps(dict(value), option=orjson.OPT_INDENT_2))
        if durable:
            file.flush()
            os.fsync(file.fileno())
    return temporary


def write_json(path: Path, value: Mapping[str, Any], *, durable: bool = True) -> None:
    """Replace a JSON file whole; ``durable`` waits until it is on the disk."""
    _written(path, value, durable=durable).replace(path)


def write_once(path: Path, value: Mapping[str, Any]) -> bool:
    """Write a JSON file unless it is there already: the first writer wins. Whether it was us."""
    temporary = _written(path, value, durable=True)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folder of one job: where everything of it stands."""

    path: Path

    @property
    def id(self) -> str:
        """The id of the job's handle."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """What to do: the job's specification and the settings it was created with."""
        return self.path / "spec.json"

    @property
    def wish_cancel(self) -> Path:
        """There if the job is to be cancelled."""
        return self.path / "wish-cancel"

    @property
    def wish_pause(self) -> Path:
        """There if the job is to be paused, or is."""
        return self.path / "wish-pause"

    @property
    def lock(self) -> Path:
        """Held by the worker as long as it lives."""
        return self.path / "worker.lock"

    @property
    def spawned(self) -> Path:
        """The process that was started last to be the worker."""
        return self.path / "spawned.json"

    @property
    def worker(self) -> Path:
        """Who the worker is and what it is doing."""
        return self.path / "worker.json"

    @property
    def heartbeat(self) -> Path:
        """Where training stands."""
        return self.path / "heartbeat.json"

    @property
    def failure(self) -> Path:
        """Why the trainer gave up, in its own words; the worker makes the outcome of it."""
        return self.path / "failure.json"

    @property
    def log(self) -> Path:
        """The training log, one event a line."""
        return self.path / "log.jsonl"

    @property
    def output(self) -> Path:
        """What the processes printed."""
        return self.path / "output.txt"

    @property
    def rows(self) -> Path:
        """The rows as tokens, and ``NAME.rejected.jsonl``."""
        return self.path / "rows"

    @property
    def checkpoints(self) -> Path:
        """``checkpoint-N`` folders; only those with a file ``complete`` are whole."""
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The trained adapter; the folder appears whole."""
        return self.path / "adapter"

    @property
    def merged(self) -> Path:
        """The trained model with the adapter merged in."""
        return self.path / "merged"

    @property
    def gguf(self) -> Path:
        """GGUF files of the trained model."""
        return self.path / "gguf"

    @property
    def outcome(self) -> Path:
        """How the job ended; written once."""
        return self.path / "outcome.json"

    def complete_checkpoints(self) -> list[tuple[int, Path]]:
        """(step, folder) of every whole checkpoint, earliest first."""
        found = []
        for mark in self.checkpoints.glob("checkpoint-*/complete"):
            step = mark.parent.name.removeprefix("checkpoint-")
            if step.isdigit():
                found.append((int(step), mark.parent))
        return sorted(found)


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of the whole backend (setting ``home``)."""

    path: Path

    @property
    def jobs(self) -> Path:
        """One folder a job."""
        return self.path / "jobs"

    @property
    def uploads(self) -> Path:
        """One folder an intent: its rows."""
        return self.path / "uploads"

    @property
    def bases(self) -> Path:
        """Students made ready to train."""
        return self.path / "bases"

    @property
    def slots(self) -> Path:
        """Locks of devices. A launcher may say that a node has its own."""
        return Path(os.environ.get("UNDERSTUDY_LOCAL_SLOTS") or self.path / "slots")

    def job(self, job_id: str) -> JobFolder:
        """The folder of a job, there or not.

        Raises:
            NotFound: no job can have that id.
        """
        if not _PLAIN.fullmatch(job_id):
            raise NotFound(f"{job_id!r} is no job id of this backend; see `understudy jobs list`")
        return JobFolder(self.jobs / job_id)

    def upload(self, upload_id: str) -> Path:
        """The folder of an upload, there or not. Raises as ``job`` does."""
        if not _PLAIN.fullmatch(upload_id):
            raise NotFound(f"{upload_id!r} is no upload of this backend; run the recipe again")
        return self.uploads / upload_id


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelName:
    """The id of a trained model: ``ft:STUDENT:JOB``, or ``ft:STUDENT:JOB:ckpt-step-N``."""

    student: str
    job: str
    step: int | None = None

    def __str__(self) -> str:
        tail = "" if self.step is None else f":ckpt-step-{self.step}"
        return f"ft:{self.student}:{self.job}{tail}"

    @classmethod
    def parse(cls, text: str) -> ModelName | None:
        """The parts of a trained model's id; None where ``text`` names a student as it came."""
        match = re.fullmatch(r"ft:([^:]*):([^:]+?)(?::ckpt-step-(\d+))?", text)
        if match is None or not _PLAIN.fullmatch(match[2]):
            return None
        return cls(student=match[1], job=match[2], step=int(match[3]) if match[3] else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A trained model on disk.

    ``adapter`` is a PEFT folder with tokenizer and chat template, to be put on ``base``, a Hugging
    Face folder. ``sha256`` is of the adapter's weights. ``licence`` is the student's.
    """

    name: ModelName
    folder: JobFolder
    adapter: Path
    base: Path
    base_model: str
    sha256: str
    licence: str


def trained(home: Home, model: str) -> Trained:
    """Where the model with the id ``model`` is.

    Raises:
        NotFound: no such model, or its job has not succeeded, or a checkpoint is gone.
    """
    name = ModelName.parse(model)
    folder = home.job(name.job) if name is not None else None
    outcome = read_json(folder.outcome) if folder is not None else None
    if name is None or folder is None or outcome is None or outcome.get("state") != "succeeded":
        raise NotFound(
            f"there is no trained model {model!r} in {home.path}; `understudy models` lists those "
            "that were registered. If its folder was moved, set home in [backends.local]."
        )
    adapter = folder.adapter
    if name.step is not None:
        adapter = dict(folder.complete_checkpoints()).get(name.step, folder.checkpoints / "gone")
    if not adapter.is_dir():
        raise NotFound(f"the files of {model!r} are gone from {adapter}; train it again")
    return Trained(
        name=name,
        folder=folder,
        adapter=adapter,
        base=Path(outcome["base"]),
        base_model=str(outcome["base_model"]),
        sha256=str(outcome["adapter_sha256"]) if name.step is None else _weights(adapter),
        licence=str(outcome.get("licence") or "unknown"),
    )


def _weights(adapter: Path) -> str:
    return sha256_of(adapter / "adapter_model.safetensors")
