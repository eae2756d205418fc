"""The way of an export, step by step. What a step has made is not made again after a crash."""

from __future__ import annotations

import gc
import importlib.metadata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from understudy.errors import BackendError, NotFound, TransientError
from understudy.model import ChatRequest, ExportedFile
from understudy_local import devices
from understudy_local.artifacts import Home, read_json, sha256_of, trained, write_json
from understudy_local.export import proof, tools
from understudy_local.export.card import modelfile, write_text
from understudy_local.export.files import discard, made_once, size_of
from understudy_local.export.order import read_order
from understudy_local.export.reference import Reference, held_out, write_answers
from understudy_local.export.room import need_room
from understudy_local.export.trained import TrainedModel
from understudy_local.formats import FileName, gguf_file
from understudy_local.serving import client, pool
from understudy_local.serving.models import Served
from understudy_local.work import Work, WorkFailed

__all__ = ["Making"]

_ANSWER_SECONDS = 600.0
_ASKS = 3
_IDLE = 60.0
_ADAPTER = "adapter_model.safetensors"
_MERGED = "model.safetensors"


class Making:
    """One export.

    Args:
        work: its folder.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._order = read_order(work)
        self._spec = self._order.spec
        self._home = Home(self._order.settings.home)
        try:
            self._trained = trained(self._home, self._spec.model)
        except NotFound as error:
            raise WorkFailed(str(error), code="no_model") from None
        step = self._trained.name.step
        folder = self._trained.folder
        self._merged = folder.merged if step is None else folder.path / f"merged-step-{step}"
        self._reference = Reference(work.path / "reference")
        self._rows = held_out(self._spec)
        self._settings = self._order.settings.model_copy(update={"idle_seconds": _IDLE})
        self._threads = self._settings.threads or pool.default_threads()

    def run(self) -> None:
        """Make every file, prove every file, and say so."""
        lacking = tools.missing()
        if lacking:
            raise WorkFailed(
                f"{', '.join(lacking)} not installed: pip install torch==2.13.0, then pip install "
                "'understudy-local[train,gguf]'",
                code="no_tools",
            )
        steps = self._steps()
        for number, (doing, act) in enumerate(steps):
            self._work.tell(step=number, total=len(steps), doing=doing)
            act()
        self._work.tell(step=len(steps), total=len(steps), doing="done")
        self._reference.forget_logits()
        files = [asdict(one) for one in self._files()]
        model = str(FileName(model=self._spec.model, format=self._spec.serve))
        self._work.end("succeeded", model=model, files=files, licence=self._trained.licence)

    def _steps(self) -> list[tuple[str, Callable[[], object]]]:
        formats = self._spec.formats
        return [
            ("asking the trained model", self._ask_trained),
            ("writing f16", self._f16),
            *((f"writing {one}", partial(self._quantized, one)) for one in formats if one != "f16"),
            *((f"proving {one}", partial(self._prove, one)) for one in formats),
        ]

    # -- making --------------------------------------------------------------------------------

    def _ask_trained(self) -> None:
        """Logits, answers and merged weights, while the trained model is in memory once."""
        answers = self._answers("trained")
        made_of = {"adapter": self._trained.sha256}
        told = read_json(self._merged.with_name(f"{self._merged.name}.json"))
        merged = told is not None and told["made_of"] == made_of and self._merged.is_dir()
        if self._reference.facts() is not None and answers.exists() and merged:
            return
        need_room(self._trained.base, self._work.path, self._spec.formats)
        device = devices.kind_of(self._settings.device)
        model = TrainedModel(self._trained, device=device, threads=self._settings.threads)
        self._reference.take(model, self._rows)
        tokens = self._spec.max_output_tokens
        write_answers(answers, model.answers(self._rows, max_output_tokens=tokens))
        made_once(self._merged, made_of, model.save_merged, proof=_MERGED)
        del model
        gc.collect()

    def _f16(self) -> dict[str, Any]:
        made_of = {"merged": sha256_of(self._merged / _MERGED), "by": tools.CONVERTER}
        convert = partial(tools.convert, self._merged, offline=self._settings.offline)
        return made_once(self._gguf("f16"), made_of, convert)

    def _quantized(self, name: str) -> dict[str, Any]:
        by = f"cyllama=={importlib.metadata.version('cyllama')}"
        made_of = {"f16": self._f16()["sha256"], "format": name, "by": by}
        return made_once(self._gguf(name), made_of, partial(self._quantize, name))

    def _quantize(self, name: str, into: Path) -> None:
        tools.quantize(self._gguf("f16"), into, name, threads=self._threads)

    def _gguf(self, name: str) -> Path:
        return gguf_file(self._trained.folder, self._trained.name.step, name)

    def _answers(self, source: str) -> Path:
        return self._work.path / "answers" / f"{source}.jsonl"

    # -- proving -------------------------------------------------------------------------------

    def _prove(self, name: str) -> None:
        """Hold a file against the trained model; one that is not it is removed."""
        done = self._work.path / f"proof-{name}.json"
        if done.exists():
            return
        path = self._gguf(name)
        try:
            found = self._fidelity(name, path)
        except WorkFailed:
            discard(path)
            raise
        write_answers(self._answers(name), self._answered(name, path))
        write_json(done, asdict(found))

    def _fidelity(self, name: str, path: Path) -> proof.Fidelity:
        facts = self._reference.facts()
        assert facts is not None
        texts = facts["texts"]
        longest = max(len(one["tokens"]) for one in texts)
        with proof.opened(path, threads=self._threads, longest=longest) as probe:
            carried: dict[str, tuple[Any, Any]] = {
                "chat template": (probe.template, facts["template"]),
                "end of an answer": (probe.end, facts["end"]),
                "tokens": (
                    [probe.tokens(one["text"]) for one in texts],
                    [one["tokens"] for one in texts],
                ),
            }
            for what, (there, wanted) in carried.items():
                if there != wanted:
                    raise WorkFailed(
                        f"{name} does not carry over the student's {what}; it would answer to "
                        "other questions than it was trained on",
                        code="garbled",
                    )
            found = proof.fidelity(
                (one["tokens"], self._reference.logits(number), probe.logits(one["tokens"]))
                for number, one in enumerate(texts)
            )
        why = proof.check(name, found)
        if why is not None:
            raise WorkFailed(why, code="garbled")
        return found

    def _answered(self, name: str, path: Path) -> Iterator[str]:
        """The file's answers, through the server that will serve it."""
        served = Served(name=str(FileName(model=self._spec.model, format=name)), path=path)
        was_there = pool.running(self._home, served)
        ask = partial(self._answer, served)
        try:
            with ThreadPoolExecutor(self._settings.parallel_requests) as threads:
                yield from threads.map(ask, self._rows)
        finally:
            if not was_there:
                pool.end(self._home, served)

    def _answer(self, served: Served, row: dict[str, Any]) -> str:
        request = ChatRequest(
            model=served.name,
            messages=tuple(row["messages"]),
            tools=tuple(row.get("tools") or ()),
            sampling={"temperature": 0, "max_tokens": self._spec.max_output_tokens},
        )
        asked = partial(client.complete, self._home, served, self._settings, request)
        try:
            for _ in range(_ASKS - 1):
                try:
                    return asked(timeout=_ANSWER_SECONDS).text
                except TransientError:
                    continue
            return asked(timeout=_ANSWER_SECONDS).text
        except BackendError as error:
            raise WorkFailed(f"{served.name} does not answer: {error}", code="no_answer") from None

    # -- what was made -------------------------------------------------------------------------

    def _files(self) -> list[ExportedFile]:
        adapter = self._trained.adapter / _ADAPTER
        merged = self._merged / _MERGED
        found = [
            self._file("adapter", adapter, sha256=self._trained.sha256),
            self._file("merged", merged, sha256=sha256_of(merged)),
        ]
        for name in self._spec.formats:
            note = self._f16() if name == "f16" else self._quantized(name)
            measures = read_json(self._work.path / f"proof-{name}.json") or {}
            one = self._file(name, self._gguf(name), sha256=note["sha256"])
            found.append(replace(one, answers=True, measures=measures))
        self._write_modelfile()
        return found

    def _write_modelfile(self) -> None:
        facts = self._reference.facts()
        assert facts is not None
        path = self._gguf(self._spec.serve)
        text = modelfile(path.name, stop=facts["end_text"], context=self._settings.context_tokens)
        write_text(path.with_name("Modelfile"), text)

    def _file(self, name: str, path: Path, *, sha256: str) -> ExportedFile:
        # Told from the job's folder, so that the whole home may be moved.
        place = path.relative_to(self._trained.folder.path).as_posix()
        return ExportedFile(
            format=name, path=place, sha256=sha256, bytes=size_of(path), answers=False
        )
