"""When a job is in which phase: pure arithmetic on its stored times, in sandbox seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from understudy_sandbox.state import Doc


def validated_at(job: Doc) -> float | None:
    """When validation ends; None as long as the file has not been looked at."""
    if job["prepared_at"] is None:
        return None
    end: float = max(job["created"] + job["timings"]["validating"], job["prepared_at"])
    return end


def running_from(job: Doc) -> float | None:
    """When running begins; None as long as that cannot be said."""
    end = queued_until(job)
    if end is None or "slot_at" not in job:
        return end
    return None if job["slot_at"] is None else max(end, float(job["slot_at"]))


def queued_until(job: Doc) -> float | None:
    """When a job is ready to run, given a free place; None as long as that cannot be said."""
    end = validated_at(job)
    return None if end is None else end + float(job["timings"]["queued"])


def active_seconds(job: Doc, now: float) -> float:
    """Seconds of running until now, pauses left out."""
    start = running_from(job)
    if start is None or now <= start:
        return 0.0
    paused: float = sum(
        max(0.0, min(now, now if b is None else b) - max(a, start)) for a, b in job["pauses"]
    )
    return max(0.0, float(now - start - paused))


def moment(job: Doc, active: float) -> float | None:
    """When a job has run for some active seconds; None where an open pause is in between."""
    at = running_from(job)
    if at is None:
        return None
    at += active
    for a, b in job["pauses"]:
        if a >= at:
            break
        if b is None:
            return None
        at += b - a
    return at


def finish_time(job: Doc) -> float | None:
    """When the job succeeds: its running time is over and its model is fitted."""
    end = moment(job, job["timings"]["running"])
    if end is None or job["fitted_at"] is None:
        return None
    return max(end, float(job["fitted_at"]))


def progress(job: Doc, now: float) -> float:
    """Share of the running time that is done, 0 to 1."""
    running = job["timings"]["running"]
    return 1.0 if running <= 0 else min(1.0, active_seconds(job, now) / running)


def open_pause(job: Doc) -> float | None:
    """Since when the job is paused; None where it is not."""
    last = job["pauses"][-1] if job["pauses"] else None
    return last[0] if last and last[1] is None else None


def status(job: Doc, now: float) -> str:
    """The status that the wire shows."""
    if job["final"]:
        return str(job["final"]["status"])
    end = validated_at(job)
    if end is None or now < end:
        return "validating_files"
    paused = open_pause(job)
    if paused is not None:
        return "pausing" if now < paused + job["timings"]["pausing"] else "paused"
    start = running_from(job)
    return "queued" if start is None or now < start else "running"
