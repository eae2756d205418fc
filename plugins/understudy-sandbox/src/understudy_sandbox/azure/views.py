"""OpenAI's objects as Azure shows them: each difference is one small function or table row."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from understudy_sandbox import timeline

if TYPE_CHECKING:
    from understudy_sandbox.state import Doc

# All recorded replies say pending before the start, and litellm's azure provider knows no other
# word; ``created``, which the service's schema has too, is left to the fault kind ``status``.
JOB_STATUS = {"validating_files": "pending", "queued": "pending"}
FILE_STATUS = {"uploaded": "pending"}
_UNKNOWN = ("organization_id", "user_provided_suffix", "shared_with_openai", "usage_metrics")
# What Azure's events say instead.
_WORDS = (
    (r"Created fine-tuning job: (.+)", r"Job enqueued. Waiting for jobs ahead to complete."),
    (r"Validating training file: (.+)", r"Preprocessing started."),
    (r"Files validated, moving job to queued state", r"Preprocessing completed for file."),
    (r"Fine-tuning job started", r"Job started."),
    (r"New fine-tuned model created", r"Model Evaluation Passed."),
    (r"The job has successfully completed", r"Job succeeded."),
    (r"The job has been cancelled", r"Job canceled."),
    (r"Step (\d+)/\d+: training loss=([\d.]+).*", r"Step \1: training loss=\2"),
)


def _hyper(job: Doc, shown: Doc, *, begun: bool) -> Doc:
    """``auto`` is -1, and stays so until the job runs."""
    if begun:
        return shown
    asked = {key: job["asked"].get(key) for key in shown}
    return {key: -1 if value in {"auto", None} else value for key, value in asked.items()}


def trained_tokens(job: Doc) -> int | None:
    """Azure's count: not the billed one, which stands in the events alone.

    It counts a closing token for every row and pass that nobody pays.
    """
    final = job["final"]
    if not final or final["status"] != "succeeded":
        return None
    return int(final["tokens"] + job["plan"]["rows"] * job["plan"]["epochs"])


def job_status(job: Doc, status: str, now: float) -> str:
    """``pending`` before the start; ``resuming`` for a moment after a pause."""
    last = job["pauses"][-1] if job["pauses"] else None
    resumed = last[1] if last else None
    if status == "running" and resumed and now < resumed + job["timings"]["pausing"]:
        return "resuming"
    return JOB_STATUS.get(status, status)


def azure_job(job: Doc, shown: Doc, now: float, *, v1: bool) -> Doc:
    """The fine-tuning job. ``trainingType`` as it was understood; fields that say nothing null."""
    start = timeline.running_from(job)
    begun = start is not None and now >= start and job["plan"] is not None
    made = {k: v for k, v in shown.items() if k not in _UNKNOWN}
    hyper = _hyper(job, shown["hyperparameters"], begun=begun)
    kind = job["method"]["type"]
    inner = _hyper(job, shown["method"][kind]["hyperparameters"], begun=begun)
    end = (start or job["created"]) + job["timings"]["running"]
    made.update(
        status=job_status(job, shown["status"], now),
        hyperparameters=hyper,
        method={"type": kind, kind: {"hyperparameters": inner}},
        trained_tokens=trained_tokens(job),
        estimated_finish=int(end),
        suffix=job["suffix"],
        trainingType=job["training_type"],
        error=shown["error"] or None,
        result_files=shown["result_files"] or None,
        integrations=shown["integrations"] or None,
    )
    if not v1:
        del made["metadata"]
    return made


def azure_event(event: Doc) -> Doc:
    """An event in Azure's words."""
    message = event["message"]
    for pattern, words in _WORDS:
        if re.fullmatch(pattern, message):
            message = re.sub(pattern, words, message)
            break
    return {**event, "id": event["id"].replace("ftevent-", "ftevent-az-"), "message": message}


def azure_checkpoint(point: Doc) -> Doc:
    """A checkpoint under its ``ftchkpt-`` id."""
    name = sha256(point["id"].encode()).hexdigest()[:32]
    return {**point, "id": f"ftchkpt-{name}"}


def azure_file(doc: Doc, shown: Doc, problem: str | None) -> Doc:
    """The file with Azure's states; a fine-tuning file that is no JSONL ends in ``error``."""
    status = FILE_STATUS.get(shown["status"], shown["status"])
    if problem and status == "processed":
        status = "error"
    if doc.get("deleting_at") is not None:
        status = "deleting"
    return {**shown, "status": status, "status_details": problem if status == "error" else None}


def azure_batch(shown: Doc) -> Doc:
    """The batch: file ids are ``""`` until there is a file, and an error file is there always."""
    made = {k: v for k, v in shown.items() if k not in {"model", "usage"}}
    made["output_file_id"] = shown["output_file_id"] or ""
    made["error_file_id"] = shown["error_file_id"] or ""
    return made


def filtered() -> Doc:
    """What the content filter says of harmless text."""
    kinds = ("hate", "self_harm", "sexual", "violence")
    return {kind: {"filtered": False, "severity": "safe"} for kind in kinds}


def azure_completion(made: Doc) -> Doc:
    """A completion, or a chunk of one, with the content filter's results."""
    choices: list[dict[str, Any]] = [
        {**choice, "content_filter_results": filtered()} for choice in made["choices"]
    ]
    shown = {**made, "choices": choices}
    if made["object"] == "chat.completion":
        shown["prompt_filter_results"] = [prompt_results()]
    return shown


def prompt_results() -> Doc:
    """The filter's results for the only prompt of a request."""
    flags = {"jailbreak": {"filtered": False, "detected": False}}
    return {"prompt_index": 0, "content_filter_results": {**filtered(), **flags}}


def prompt_chunk(first: Doc) -> Doc:
    """What a stream of Azure's begins with: a chunk without choices, about the prompt."""
    return {
        "id": "",
        "object": first["object"],
        "created": 0,
        "model": "",
        "choices": [],
        "prompt_filter_results": [prompt_results()],
    }
