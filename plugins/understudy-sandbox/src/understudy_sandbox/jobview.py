"""Jobs, their events and checkpoints as the wire shows them."""

from __future__ import annotations

import base64
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy_sandbox import timeline
from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from understudy_sandbox.state import Doc, State

_METHOD_KEYS = ("n_epochs", "batch_size", "learning_rate_multiplier")


def _hyperparameters(job: Doc) -> Doc:
    plan = job["plan"]
    if plan is None:
        return {key: job["asked"][key] for key in _METHOD_KEYS}
    values = (plan["epochs"], plan["batch_size"], plan["rate"])
    return dict(zip(_METHOD_KEYS, values, strict=True))


def _method(job: Doc, hyperparameters: Doc) -> Doc:
    kind = job["method"]["type"]
    shown = dict(hyperparameters)
    if kind == "dpo":
        asked = job["asked"].get("beta", "auto")
        shown["beta"] = 0.1 if asked == "auto" and job["plan"] else asked
    return {"type": kind, kind: {"hyperparameters": shown}}


def job_view(job: Doc, now: float) -> Doc:
    """The ``fine_tuning.job`` object. ``error`` is ``{}`` unless the job failed, as in reality."""
    final = job["final"] or {}
    shown = _hyperparameters(job)
    status = timeline.status(job, now)
    failed = status == "failed"
    running = status == "running"
    estimate = timeline.moment(job, job["timings"]["running"]) if running else None
    return {
        "object": "fine_tuning.job",
        "id": job["id"],
        "model": job["model"],
        "created_at": int(job["created"]),
        # OpenAI leaves the time of failure out.
        "finished_at": int(final["at"]) if final and not failed else None,
        "fine_tuned_model": final.get("model"),
        "organization_id": "org-understudysandbox",
        "result_files": final.get("results", []),
        "status": status,
        "validation_file": job["validation_file"],
        "training_file": job["training_file"],
        "hyperparameters": shown,
        "trained_tokens": final["tokens"] if final and not failed else None,
        "error": final["error"] if failed else {},
        "user_provided_suffix": job["suffix"],
        "seed": job["seed"],
        "estimated_finish": int(estimate) if estimate else None,
        "integrations": job["integrations"] or [],
        "metadata": job["metadata"],
        "usage_metrics": None,
        "shared_with_openai": False,
        "method": _method(job, shown),
    }


def _metrics(job: Doc, measure: Doc) -> Doc:
    steps = job["plan"]["steps"]
    shown = {
        "step": max(1, round(steps * measure["fraction"])),
        "train_loss": round(measure["train_loss"], 6),
        "train_mean_token_accuracy": round(measure["train_accuracy"], 6),
    }
    if measure["valid_loss"] is not None:
        shown["valid_loss"] = round(measure["valid_loss"], 6)
        shown["valid_mean_token_accuracy"] = round(measure["valid_accuracy"], 6)
    return shown


def _measure_events(job: Doc, now: float) -> list[tuple[float, str, str, str, Doc]]:
    found = []
    if not job["plan"]:
        return []
    until = job["final"]["at"] if job["final"] else now
    done = timeline.progress(job, until)
    for measure in job["measures"]:
        if measure["fraction"] > done:
            break
        at = timeline.moment(job, measure["fraction"] * job["timings"]["running"])
        shown = _metrics(job, measure)
        total = job["plan"]["steps"]
        text = f"Step {shown['step']}/{total}: training loss={shown['train_loss']:.2f}"
        if "valid_loss" in shown:
            text += f", validation loss={shown['valid_loss']:.2f}"
        found.append((at or until, "info", "metrics", text, {**shown, "total_steps": total}))
    return found


def events(job: Doc, now: float) -> list[Doc]:
    """All events until now, the newest first."""
    plain: Doc = {}
    made = [(job["created"], "info", "message", f"Created fine-tuning job: {job['id']}", plain)]
    made.append(
        (
            job["created"],
            "info",
            "message",
            f"Validating training file: {job['training_file']}",
            plain,
        )
    )
    checked = timeline.validated_at(job)
    if checked is not None and job["plan"] and now >= checked:
        made.append(
            (checked, "info", "message", "Files validated, moving job to queued state", plain)
        )
    start = timeline.running_from(job)
    if start is not None and job["plan"] and now >= start:
        made.append((start, "info", "message", "Fine-tuning job started", plain))
    made += _measure_events(job, now)
    for a, b in job["pauses"]:
        made.append((a, "info", "message", "Fine-tuning job paused", plain))
        if b is not None:
            made.append((b, "info", "message", "Fine-tuning job resumed", plain))
    made += _last_words(job)
    end = job["final"]["at"] if job["final"] else now
    made = sorted((m for m in made if m[0] <= end), key=lambda m: m[0])
    return [_event(job, m) for m in made][::-1]


def _last_words(job: Doc) -> list[tuple[float, str, str, str, Doc]]:
    final = job["final"]
    if not final:
        return []
    at, plain = final["at"], dict[str, Any]()
    if final["status"] == "cancelled":
        return [(at, "info", "message", "The job has been cancelled", plain)]
    if final["status"] == "failed":
        return [
            (
                at,
                "error",
                "message",
                f"The job failed: {final['error']['message']}",
                {"error_code": final["error"]["code"]},
            )
        ]
    made = [
        (at, "info", "message", f"Checkpoint created at step {step}", {"step": step})
        for _, step in final["points"][:-1]
    ]
    return [
        *made,
        (at, "info", "message", "New fine-tuned model created", {"model": final["model"]}),
        (at, "info", "message", f"Training tokens billed: {final['tokens']}", plain),
        (at, "info", "message", "The job has successfully completed", plain),
    ]


def _event(job: Doc, made: tuple[float, str, str, str, Doc]) -> Doc:
    at, level, kind, message, data = made
    name = sha256(f"{job['id']}/{at}/{message}".encode()).hexdigest()[:24]
    return {
        "object": "fine_tuning.job.event",
        "id": f"ftevent-{name}",
        "created_at": int(at),
        "level": level,
        "message": message,
        "data": data,
        "type": kind,
    }


def checkpoints(job: Doc) -> list[Doc]:
    """The checkpoints of a succeeded job, the newest first; the last has no step in its name."""
    final = job["final"] or {}
    shown = []
    for epoch, step in reversed(final.get("points", [])):
        share = epoch / job["plan"]["epochs"]
        measure = min(job["measures"], key=lambda m: abs(m["fraction"] - share))
        metrics = _metrics(job, measure)
        if "valid_loss" in metrics:
            metrics["full_valid_loss"] = metrics["valid_loss"]
            metrics["full_valid_mean_token_accuracy"] = metrics["valid_mean_token_accuracy"]
        last = epoch == job["plan"]["epochs"]
        name = sha256(f"{job['id']}/{step}".encode()).hexdigest()[:24]
        shown.append(
            {
                "object": "fine_tuning.job.checkpoint",
                "id": f"ftckpt_{name}",
                "created_at": int(final["at"]),
                "fine_tuned_model_checkpoint": final["model"]
                if last
                else f"{final['model']}:ckpt-step-{step}",
                "fine_tuning_job_id": job["id"],
                "metrics": {**metrics, "step": step},
                "step_number": step,
            }
        )
    return shown


def result_file(state: State, job: Doc, when: float) -> str:
    """Store the metrics of a job as its result file: CSV in base64, as the provider gives it."""
    columns = (
        "step",
        "train_loss",
        "train_mean_token_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
    )
    lines = [",".join(columns)]
    for measure in job["measures"]:
        row: dict[str, Any] = _metrics(job, measure)
        lines.append(",".join(str(row.get(c, "")) for c in columns))
    text = base64.b64encode("\n".join(lines).encode())
    with tempfile.NamedTemporaryFile(dir=state.folder, delete=False) as stream:
        stream.write(text)
    blob, size = state.keep_blob(Path(stream.name))
    doc = {
        "id": new_id("file-"),
        "blob": blob,
        "bytes": size,
        "created": when,
        "filename": "step_metrics.csv",
        "purpose": "fine-tune-results",
        "home": job["home"],
        "expires_at": None,
        "visible_at": 0,
    }
    return str(state.docs["file"].put(doc)["id"])
