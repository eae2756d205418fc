from __future__ import annotations

import importlib
import subprocess
import sys

from understudy_sandbox.plugin import understudy_commands


def test_commands_point_at_functions() -> None:
    for spec in understudy_commands():
        module, _, name = spec.target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys; import understudy_sandbox.plugin as p; list(p.understudy_commands());"
        "print([m for m in ('sklearn', 'numpy', 'starlette', 'uvicorn', 'typer')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
