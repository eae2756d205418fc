"""``understudy doctor``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from understudy.backend import Check, SupportsDoctor
from understudy.cli.context import Session, session
from understudy.cli.exit_codes import ExitCode
from understudy.cli.output import note, show
from understudy.config import Config
from understudy.errors import ConfigError, UnderstudyError
from understudy.secrets import redact

__all__ = ["doctor"]


def doctor(
    ctx: typer.Context,
    backend: Annotated[
        str | None, typer.Argument(help="Only this backend; default: all configured ones.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Check settings, plugins and backends, and say what to do. Exit code 4 if anything is ill."""
    here = session(ctx)
    checks = list(_checks(here, backend))
    records = [
        {
            **dataclasses.asdict(check),
            "check": check.name,
            "well": "ok" if check.ok else "FAILED",
        }
        for check in checks
    ]
    if as_json:
        show([dataclasses.asdict(check) for check in checks], (), as_json=True)
    else:
        show(records, ("well", "check", "detail", "fix"), as_json=False)
    if backend is None and not here.config.backends:
        known = ", ".join(here.host.backends()) or "none installed"
        note(f"No backend is configured; name one to check it: {known}.")
    return ExitCode.OK if all(check.ok for check in checks) else ExitCode.BACKEND


def _checks(here: Session, backend: str | None) -> Iterator[Check]:
    config = here.config
    yield from _settings(config)
    for info in here.host.plugins():
        yield Check(
            name=f"plugin {info.name}",
            ok=info.status == "ok",
            detail=info.reason or f"{info.distribution} {info.version}",
            fix=info.fix,
        )
    for name in [backend] if backend else sorted(config.backends):
        yield from _backend(here, name)


def _settings(config: Config) -> Iterator[Check]:
    file = str(config.file) if config.file else "none; defaults"
    yield Check(name="settings file", ok=True, detail=file)
    yield _store(config)
    yield _datasets(config.data.root)
    worker = ", ".join(f"{name} {value:g}" for name, value in config.worker.model_dump().items())
    yield Check(name="worker", ok=True, detail=worker.replace("_", " "))
    today = datetime.fromtimestamp(config.clock.now(), UTC).isoformat(timespec="seconds")
    yield Check(name="clock", ok=True, detail=f"{today}, {config.clock.speed:g} times as fast")


def _datasets(root: Path) -> Check:
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    if there.is_dir() and os.access(there, os.W_OK):
        return Check(name="datasets", ok=True, detail=str(root))
    fix = f"make {there} a folder that can be written, or name another one in [data] root"
    return Check(name="datasets", ok=False, detail=f"{root} cannot be written", fix=fix)


def _store(config: Config) -> Check:
    from understudy.store import open_store

    try:
        open_store(config.store.url.get_secret_value()).close()
    except ConfigError as error:
        fix = "start the database, or correct [store] url or UNDERSTUDY_STORE"
        return Check(name="store", ok=False, detail=redact(str(error)), fix=fix)
    return Check(name="store", ok=True, detail=f"{config.store.shown} opens")


def _backend(here: Session, name: str) -> Iterator[Check]:
    title = f"backend {name}"
    try:
        made = here.host.make_backend(name, here.config)
    except UnderstudyError as error:
        fix = "see `understudy backends` and `understudy plugins`"
        yield Check(name=title, ok=False, detail=redact(str(error)), fix=fix)
        return
    try:
        if not isinstance(made, SupportsDoctor):
            yield Check(name=title, ok=True, detail="settings are valid; it has no checks")
            return
        for check in made.doctor():
            yield dataclasses.replace(
                check, name=f"{title}: {check.name}", detail=redact(check.detail)
            )
    except UnderstudyError as error:
        yield Check(name=title, ok=False, detail=redact(str(error)), fix="see the message")
    finally:
        made.close()
