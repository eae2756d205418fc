"""The same worker on a Ray cluster: submitted by the Ray Jobs API, told by the same folder.

``home`` must be on a disk that this machine and every node of the cluster have at the same place,
and the nodes need this package with what it trains with. Ray gives the worker its GPUs, so turns
are taken on its node alone. Whoever may use the cluster is Ray's own matter: it reads its token
from its own environment variables or files. No secret of ours is sent along, since a job's
environment is shown on Ray's dashboard: a node that fetches gated students has HF_TOKEN itself.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from dataclasses import replace
from functools import cached_property
from typing import Any

from understudy.errors import AuthError, NotEligible, Unavailable
from understudy_local.artifacts import JobFolder, read_json, write_json, write_once
from understudy_local.jobfile import read_order
from understudy_local.machine import Machine
from understudy_local.settings import LocalSettings
from understudy_local.status import Look

__all__ = ["RayMachine", "machine_for"]

_SLOTS = "/tmp/understudy-slots"  # noqa: S108 - locks, on each node its own


def machine_for(settings: LocalSettings) -> Machine:
    """The machine on which ``settings.launcher`` starts workers."""
    return RayMachine(settings) if settings.launcher == "ray" else Machine(settings)


class RayMachine(Machine):
    """Starts workers on a Ray cluster that is there already, and looks at them through it."""

    @cached_property
    def _client(self) -> Any:
        try:
            from ray.job_submission import JobSubmissionClient
        except ImportError:
            raise NotEligible(
                "launcher is ray and Ray is not installed: pip install 'understudy-local[ray]'"
            ) from None
        try:
            return JobSubmissionClient(self._settings.ray_address)
        except Exception as error:  # noqa: BLE001 - Ray raises what its transport does
            raise _told(error, self._settings.ray_address) from None

    def start_worker(self, folder: JobFolder) -> None:
        """Submit the worker; a submission that is already there under its id is left alone."""
        if folder.wish_cancel.exists():
            # It needs no device to end a job that nobody works at.
            super().start_worker(folder)
            return
        last = read_json(folder.spawned) or {}
        tries = 1 if _has_begun(folder) else int(last.get("tries", 0)) + 1
        if tries > self._settings.max_restarts + 1:
            self._give_up(folder, str(last.get("submission")))
            return
        number = int(last.get("number", 0)) + 1
        name = f"understudy-{folder.id}-{number}"
        # Written first: a caller that dies here has left what to look for.
        write_json(folder.spawned, {"submission": name, "number": number, "tries": tries})
        if self._status(name) is None:
            self._submit(folder, name)

    def _submit(self, folder: JobFolder, name: str) -> None:
        order = read_order(folder)
        command = [self._settings.ray_python, *self.worker, os.fspath(folder.path)]
        output = shlex.quote(os.fspath(folder.output))
        environment = {"UNDERSTUDY_LOCAL_SLOTS": _SLOTS}
        try:
            self._client.submit_job(
                entrypoint=f"{shlex.join(command)} >> {output} 2>&1",
                submission_id=name,
                runtime_env={"env_vars": environment},
                entrypoint_num_cpus=1,
                entrypoint_num_gpus=0 if order.device == "cpu" else order.params.gpus,
                metadata={"understudy_job": folder.id},
            )
        except Exception as error:  # noqa: BLE001 - as above
            # Two callers may submit at once; Ray takes an id only once.
            if self._status(name) is None:
                raise _told(error, self._settings.ray_address) from None

    def look(self, folder: JobFolder) -> Look:
        """As the folder says; whether the worker lives, Ray says."""
        look = super().look(folder)
        name = (read_json(folder.spawned) or {}).get("submission")
        if look.outcome is not None or name is None:
            return look
        status = self._status(name)
        if status == "PENDING" and look.cancel:
            with contextlib.suppress(Exception):  # it may just have started, and hears the wish
                self._client.stop_job(name)
            status = None
        return replace(look, alive=look.alive or status in {"PENDING", "RUNNING"})

    def _status(self, name: str) -> str | None:
        """Ray's word for a submission; None where it knows none."""
        try:
            return str(self._client.get_job_info(name).status.value)
        except RuntimeError as error:
            if "404" in str(error):
                return None
            raise _told(error, self._settings.ray_address) from None

    def _give_up(self, folder: JobFolder, name: str) -> None:
        said = ""
        with contextlib.suppress(Exception):  # then there are no words of Ray's
            said = str(self._client.get_job_info(name).message or "")[:500]
        message = f"its worker ends on the cluster before it has begun: {said or folder.output}"
        problem = {"code": "no_worker", "message": message}
        write_once(folder.outcome, {"state": "failed", "at": time.time(), "problem": problem})


def _has_begun(folder: JobFolder) -> bool:
    """Whether the worker that was submitted last has taken the job over."""
    try:
        return folder.worker.stat().st_mtime_ns > folder.spawned.stat().st_mtime_ns
    except FileNotFoundError:
        return False


def _told(error: Exception, address: str | None) -> AuthError | Unavailable:
    where = address or "the address that Ray's own settings give"
    if "uthentication" in f"{type(error).__name__} {error}":
        return AuthError(
            f"the Ray cluster at {where} refused us; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        )
    return Unavailable(
        f"the Ray cluster at {where} cannot be asked ({type(error).__name__}); is it up? "
        "It is tried again"
    )
