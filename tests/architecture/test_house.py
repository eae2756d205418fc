from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

import understudy
import understudy.testing
from understudy import hookspecs, model, plugins, states
from understudy.plugins import loading

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for base in (ROOT / "src", *(ROOT / "plugins").glob("*/src"))
    for path in base.rglob("*.py")
    if "__pycache__" not in path.parts
)
CORE = sorted(
    module.name
    for module in pkgutil.walk_packages(understudy.__path__, "understudy.")
    if not module.name.endswith(("__main__", ".env")) and ".versions" not in module.name
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def trees() -> list[tuple[str, ast.Module]]:
    return [(name_of(path), ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES]


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order that ruff keeps in ``__all__``."""
    if name.isupper():
        return 0, name
    return (1, name) if name.lstrip("_")[:1].isupper() else (2, name)


def test_files_are_short():
    long = {name_of(p): n for p in SOURCES if (n := p.read_text().count("\n")) >= 400}
    assert long == {}


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code: parameters and docstring speak to the caller and are not counted."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


TABLES = {"src/understudy/states.py:_table"}
"""Functions that are one table and read best in one piece."""


def test_functions_are_short():
    lengths = {
        f"{name}:{node.name}": body_lines(node)
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in lengths.items() if n >= 40 and name not in TABLES} == {}
    assert set(lengths) >= TABLES


def test_every_all_is_sorted_and_true():
    wrong = {}
    for name, tree in trees():
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
                names = ast.literal_eval(node.value)
                if list(names) != sorted(set(names), key=order):
                    wrong[name] = names
    assert wrong == {}


def test_every_core_module_says_what_it_exports():
    silent = []
    for name in CORE:
        module = importlib.import_module(name)
        defines = [v for v in vars(module).values() if getattr(v, "__module__", "") == name]
        if defines and not hasattr(module, "__all__") and ".migrations" not in name:
            silent.append(name)
    assert silent == []


@pytest.mark.parametrize("name", CORE)
def test_what_a_module_exports_is_there(name):
    module = importlib.import_module(name)
    assert [each for each in getattr(module, "__all__", ()) if not hasattr(module, each)] == []


def test_public_names_are_listed_once_with_their_home():
    assert set(understudy.__all__) == {*understudy._MODULE_OF, "__version__"}
    assert set(understudy.testing.__all__) == set(understudy.testing._MODULE_OF)
    assert dir(understudy) == sorted(understudy.__all__)


def test_the_version_is_that_of_the_distribution():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["project"]["version"] == understudy.__version__


RECORDS = [
    cls
    for module in (model, hookspecs, plugins)
    for _, cls in inspect.getmembers(module, dataclasses.is_dataclass)
    if cls.__module__.startswith(module.__name__) and not cls.__name__.startswith("_")
]


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
def test_records_are_frozen_and_keyword_only(cls):
    assert cls.__dataclass_params__.frozen
    kinds = {parameter.kind for parameter in inspect.signature(cls).parameters.values()}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY}
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}("), "a docstring of its own"


HOOKS = [
    value
    for name, value in vars(hookspecs).items()
    if name.startswith("understudy_") and inspect.isfunction(value)
]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
def test_every_hook_is_marked_documented_typed_and_called(hook):
    assert hasattr(hook, "understudy_spec")
    assert (hook.__doc__ or "").endswith(".")
    assert hook.__annotations__["return"].startswith("Iterable[")
    assert hook.__name__ in {called for called, _ in loading.HOOKS.values()}


def test_the_readme_draws_the_state_machine():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if "<!-- states:begin -->" not in text:
        pytest.skip("README.md has no state diagram yet")
    drawn = re.search(
        r"<!-- states:begin -->\s*```mermaid\n(.*?)\n```\s*<!-- states:end -->", text, re.DOTALL
    )
    assert drawn is not None, "between the markers stands one mermaid block"
    assert drawn[1] == states.diagram(), "write states.diagram() into README.md"


def test_no_absolute_paths_of_a_machine():
    found = [
        name_of(path)
        for path in SOURCES
        if re.search(r"[\"'](/work/|/home/|/Users/|/root/)", path.read_text(encoding="utf-8"))
    ]
    assert found == []
