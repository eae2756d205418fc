"""Whether this machine is set up to train, export and serve."""

from __future__ import annotations

import os
from collections.abc import Iterator

from understudy.backend import Check
from understudy_local.devices import kind_of, memory_of
from understudy_local.estimate import GIB
from understudy_local.export import tools
from understudy_local.machine import Machine, told
from understudy_local.settings import LocalSettings
from understudy_local.trainers.trl_trainer import Trl
from understudy_local.trainers.unsloth_trainer import Unsloth

__all__ = ["checks"]

_LITTLE_DISK = 5 * GIB


def checks(machine: Machine, settings: LocalSettings) -> Iterator[Check]:
    """In the order of dependence: the folder, the device, the trainers, the export, the hub."""
    yield _home(machine)
    yield _device(settings)
    yield from _trainers(kind_of(settings.device))
    yield _export()
    if settings.offline:
        hub = "not asked (offline)"
    elif settings.hf_token or os.environ.get("HF_TOKEN"):
        hub = "a token is set"
    else:
        hub = "no token: students that are not gated can be fetched"
    yield Check(name="hub", ok=True, detail=hub)


def _home(machine: Machine) -> Check:
    place = machine.home.path
    try:
        free = machine.probe()
    except OSError as error:
        trouble = str(told(error, what="write", home=place))
        return Check(
            name="home",
            ok=False,
            detail=trouble,
            fix=f"make {place} writable for this user, or set home in [backends.local]",
        )
    return Check(
        name="home",
        ok=free >= _LITTLE_DISK,
        detail=f"{place}, {free / GIB:.0f} GiB free",
        fix="" if free >= _LITTLE_DISK else "free some space: a student takes gigabytes",
    )


def _device(settings: LocalSettings) -> Check:
    kind = kind_of(settings.device)
    have = memory_of(kind)
    if have is None:
        return Check(
            name="device",
            ok=False,
            detail=f"{kind}: its memory cannot be told",
            fix='install the driver with nvidia-smi, or set device = "cpu"',
        )
    return Check(
        name="device",
        ok=True,
        detail=f"{kind}: {have.name}, {have.total / GIB:.0f} GiB, {have.free / GIB:.0f} free",
    )


def _trainers(kind: str) -> Iterator[Check]:
    why = Trl().why_not(kind)
    install = "pip install torch==2.13.0, then pip install 'understudy-local[train]'"
    yield Check(name="trl", ok=why is None, detail=why or "ready", fix=install if why else "")
    # Optional: without it TRL trains.
    yield Check(name="unsloth", ok=True, detail=Unsloth().why_not(kind) or "ready")


def _export() -> Check:
    lacking = tools.missing()
    if lacking:
        return Check(
            name="export",
            ok=False,
            detail=f"{', '.join(lacking)} not installed: no GGUF files are made, no model answers",
            fix="pip install 'understudy-local[train,gguf]'",
        )
    there = tools.is_there()
    return Check(
        name="export",
        ok=True,
        detail="ready" if there else f"ready; {tools.CONVERTER} is fetched by the first export",
    )
