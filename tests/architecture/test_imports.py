from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    "alembic",
    "daft",
    "fsspec",
    "genai_prices",
    "jinja2",
    "jsonschema_rs",
    "matplotlib",
    "langfuse",
    "numpy",
    "openai",
    "opentelemetry",
    "plotext",
    "psycopg",
    "pyarrow",
    "ray",
    "redis",
    "rich",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "starlette",
    "tiktoken",
    "torch",
    "transformers",
    "trl",
    "uvicorn",
    "zstandard",
}
"""What a command that needs none of it must not pay for."""

SHOW = "import sys; print(*sorted(sys.modules), file=sys.stderr)"


def modules(code: str, cwd: Path) -> set[str]:
    """Modules that a fresh interpreter holds after running ``code``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("UNDERSTUDY_")}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SHOW}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env=env,
    )
    return set(done.stderr.split())


def command(*line: str) -> str:
    return f"from understudy.cli.app import run\nassert run({list(line)!r}) == 0"


def test_layers_hold():
    code = (
        "from importlinter.cli import lint_imports; import sys; "
        "sys.exit(lint_imports(config_filename='.importlinter', no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[done.stdout.find("Broken contracts") :]
    assert "5 kept, 0 broken" in done.stdout


def test_import_understudy_imports_next_to_nothing(tmp_path):
    before = modules("pass", tmp_path)
    loaded = modules("import understudy", tmp_path) - before
    assert {name for name in loaded if name.startswith("understudy")} == {"understudy"}
    assert {name.partition(".")[0] for name in loaded}.isdisjoint({*HEAVY, "pydantic", "typer"})


@pytest.mark.parametrize(
    "code",
    [
        command("--help"),
        command("--version"),
        command("plugins"),
        command("backends"),
        command("init"),
        "import understudy.backend, understudy.hookspecs, understudy.plugins, understudy.config",
        "import understudy.data",
        "import understudy_local.plugin, understudy_openai.plugin, understudy_sandbox.plugin",
    ],
)
def test_nothing_heavy_is_imported_where_it_is_not_used(tmp_path, code):
    loaded = {name.partition(".")[0] for name in modules(code, tmp_path)}
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "code", [command("--help"), command("plugins"), "import understudy.plugins"]
)
def test_the_core_does_not_import_the_testing_kit(tmp_path, code):
    loaded = modules(code, tmp_path)
    assert "understudy.plugins" in loaded
    assert not {name for name in loaded if name.startswith("understudy.testing")}


def test_the_pytest_plugin_is_light(tmp_path):
    loaded = modules("import understudy.testing.pytest_plugin", tmp_path)
    ours = {name for name in loaded if name.startswith("understudy")}
    assert ours == {"understudy", "understudy.testing", "understudy.testing.pytest_plugin"}
    assert "pydantic" not in loaded


def test_every_public_name_is_there(tmp_path):
    code = "import understudy\nfor name in understudy.__all__: getattr(understudy, name)"
    assert "understudy.plugins" in modules(code, tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        modules("import understudy; understudy.no_such_name", tmp_path)
