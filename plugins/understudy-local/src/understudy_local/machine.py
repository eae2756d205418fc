"""All that the backend does to the disk and to processes, in one place."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.errors import (
    AuthError,
    BackendError,
    DataError,
    NotFound,
    QuotaError,
    Unavailable,
)
from understudy.model import Rows
from understudy_local import processes
from understudy_local.artifacts import Home, JobFolder, read_json, sha256_of, write_json, write_once
from understudy_local.settings import LocalSettings
from understudy_local.status import Look

__all__ = ["Machine", "told"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def told(error: OSError, *, what: str, home: Path) -> BackendError:
    """Trouble of the disk or the system as the engine knows trouble. ``what`` was being done."""
    where = f"could not {what} in {home}: {os.strerror(error.errno or errno.EIO)}"
    if isinstance(error, PermissionError):
        return AuthError(f"{where}. Give this user the right to it, or set another home")
    if error.errno in _FULL:
        return QuotaError(f"{where}. Free some space, or set home to a larger disk", code="no_disk")
    return Unavailable(f"{where}. It is tried again")


class Machine:
    """The disk and the processes of this machine.

    Args:
        settings: where, and with which secrets for the processes.
    """

    worker: tuple[str, ...] = ("-m", "understudy_local.worker")
    """What Python is told to run as a worker; the job's folder comes last."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self.home = Home(settings.home)

    def probe(self) -> int:
        """Bytes that are free in ``home``; raises OSError where nothing can be written there."""
        self.home.path.mkdir(parents=True, exist_ok=True)
        trial = self.home.path / f".probe.{secrets.token_hex(4)}"
        trial.touch()
        trial.unlink()
        return shutil.disk_usage(self.home.path).free

    # -- rows ----------------------------------------------------------------------------------

    def stage(self, upload: Path, files: Mapping[str, Rows]) -> None:
        """Copy files of rows into the folder of an upload; one that is there whole stays.

        Raises:
            DataError: a file is not the one that was described.
        """
        upload.mkdir(parents=True, exist_ok=True)
        for name, rows in files.items():
            target = upload / name
            if target.is_file() and sha256_of(target) == rows.sha256:
                continue
            part = upload / f".{name}.{secrets.token_hex(4)}"
            try:
                shutil.copyfile(rows.path, part)
                if sha256_of(part) != rows.sha256:
                    message = "it has changed since it was prepared; run the recipe again"
                    raise DataError(message, file=rows.path)
                _sync(part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)

    # -- jobs ----------------------------------------------------------------------------------

    def place(self, folder: JobFolder, order: Mapping[str, Any]) -> bool:
        """Make the job's folder appear whole; False if it is there already."""
        home = self.home.jobs
        home.mkdir(parents=True, exist_ok=True)
        draft = home / f".{folder.id}.{secrets.token_hex(4)}"
        draft.mkdir()
        try:
            write_json(draft / folder.spec.name, order)
            draft.rename(folder.path)
        except OSError as error:
            if folder.spec.is_file():
                return False
            raise error from None
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _sync(home)
        return True

    def start_worker(self, folder: JobFolder) -> None:
        """Start a worker for the job. A second one beside a living one ends by itself.

        Where workers end before they have begun, too often in a row, the job fails.
        """
        tries = _starts(folder) + 1
        if tries > self._settings.max_restarts + 1:
            message = f"its worker ends before it has begun; see {folder.output}"
            problem = {"code": "no_worker", "message": message}
            write_once(folder.outcome, {"state": "failed", "at": time.time(), "problem": problem})
            return
        token = self._settings.hf_token
        secret = {"HF_TOKEN": token.get_secret_value()} if token else {}
        started = processes.start(
            [*self.worker, os.fspath(folder.path)], output=folder.output, environment=secret
        )
        write_json(folder.spawned, {**started.to_json(), "tries": tries}, durable=False)

    def look(self, folder: JobFolder) -> Look:
        """What the folder says now.

        Raises:
            NotFound: there is no such job.
        """
        # The outcome is read last: it is written first, so none of the rest is newer.
        worker, beat = read_json(folder.worker), read_json(folder.heartbeat)
        ids = (processes.parse(worker), processes.parse(read_json(folder.spawned)))
        look = Look(
            worker=worker,
            heartbeat=beat,
            alive=any(processes.is_alive(one) for one in ids),
            cancel=folder.wish_cancel.exists(),
            pause=folder.wish_pause.exists(),
            outcome=read_json(folder.outcome),
        )
        if worker is None and not folder.spec.is_file():
            raise NotFound(
                f"there is no job {folder.id} in {self.home.jobs}. If its folder was moved, set "
                "home in [backends.local]; if it was deleted, run the recipe again"
            )
        return look


def _starts(folder: JobFolder) -> int:
    """How many workers in a row were started and never took the job over."""
    last, worker = read_json(folder.spawned) or {}, read_json(folder.worker)
    if processes.parse(last) == processes.parse(worker):
        return 0
    return int(last.get("tries", 0))


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
