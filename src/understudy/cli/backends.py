"""``understudy backends``."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from understudy.backend import BackendSpec, Support
from understudy.cli.context import session
from understudy.cli.output import note, print_json, say, table

__all__ = ["backends"]


def backends(
    ctx: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what each backend can do, with the reason for each thing that it cannot."""
    here = session(ctx)
    specs = list(here.host.backends().values())
    uses = {name: here.config.backend_settings(name)[0] for name in here.config.backends}
    if as_json:
        print_json([_record(spec, uses) for spec in specs])
        return
    names = [name for name, _ in _supports(specs[0])] if specs else []
    rows = []
    for spec in specs:
        configured = ", ".join(name for name, plugin in uses.items() if plugin == spec.name)
        marks = ["yes" if support.ok else "no" for _, support in _supports(spec)]
        rows.append([spec.name, configured, ", ".join(spec.capabilities.methods), *marks])
    table(["backend", "configured as", "methods", *(n.replace("_", " ") for n in names)], rows)
    for spec in specs:
        for name, support in _supports(spec):
            if support.reason:
                say(f"{spec.name}: {name.replace('_', ' ')}: {support.reason}")
        for line in spec.capabilities.notes:
            say(f"{spec.name}: {line}")
    _hints(here.host.plugins(), empty=not specs)


def _supports(spec: BackendSpec) -> list[tuple[str, Support]]:
    values = [
        (field.name, getattr(spec.capabilities, field.name))
        for field in dataclasses.fields(spec.capabilities)
    ]
    return [(name, value) for name, value in values if isinstance(value, Support)]


def _record(spec: BackendSpec, uses: dict[str, str]) -> dict[str, Any]:
    configured = sorted(name for name, plugin in uses.items() if plugin == spec.name)
    return {**dataclasses.asdict(spec), "configured_as": configured}


def _hints(infos: list[Any], *, empty: bool) -> None:
    wrong = [info.distribution for info in infos if info.status != "ok"]
    if wrong:
        note(f"Not usable: {', '.join(wrong)}; `understudy plugins` says why.")
    if empty:
        note("No backend is installed; try: pip install 'understudy[openai,sandbox]'")
