from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from understudy.config import Config, load_config
from understudy.errors import (
    ConfigError,
    PluginApiError,
    PluginConflictError,
    PluginError,
    PluginLoadError,
)
from understudy.plugins import GROUP, PluginHost, import_target
from understudy.testing import FakeBackend, ManualClock

FAKE = EntryPoint("fake", "understudy.testing.fake_plugin", GROUP)
HEAD = """\
from understudy.hookspecs import *
from understudy.backend import *
YES = Support.yes()
CAPS = Capabilities(methods=("supervised",), **{n: YES for n in (
    "find poll_many cancel pause events checkpoints deploy infer batch export estimate "
    "lifecycle listing").split()})
def spec(name, **changes):
    known = dict(name=name, target="json:JSONDecoder", api=">=1,<2", install="pip install it")
    return BackendSpec(capabilities=CAPS, **{**known, **changes})
"""


def write_plugin(folder: Path, module: str, body: str) -> Path:
    """A real distribution: a module, and the metadata that a wheel would leave."""
    (folder / f"{module}.py").write_text(HEAD + textwrap.dedent(body))
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{module} = {module}\n")
    return folder


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install modules as plugins, in a path of this test alone, and give their host."""
    monkeypatch.syspath_prepend(tmp_path)
    entries: list[EntryPoint] = []

    def make(reserved: tuple[str, ...] = (), **bodies: str) -> PluginHost:
        for module, body in bodies.items():
            write_plugin(tmp_path, module, body)
            entries.append(EntryPoint(module, module, GROUP))
        return PluginHost(entry_points=entries, reserved_commands=reserved)

    yield make
    for entry in entries:
        sys.modules.pop(entry.value, None)


GOOD = """
@hookimpl
def understudy_backends():
    yield spec("good")
@hookimpl
def understudy_commands():
    yield CommandSpec(name="serve good", target="json:dumps", help="Serve it.")
@hookimpl
def understudy_scorers():
    yield ScorerSpec(name="same", target="operator:eq", help="Equal.")
@hookimpl
def understudy_price_tables():
    yield PriceTable(name="good", path="prices.toml")
"""


def test_a_good_plugin_provides_all_kinds(make):
    host = make(p_good=GOOD)
    (info,) = host.plugins()
    assert (info.name, info.distribution, info.status) == ("p_good", "p_good", "ok")
    assert info.provides == (
        "backend good",
        "command serve good",
        "price table good",
        "scorer same",
    )
    assert set(host.backends()) == {"good"}
    assert set(host.commands()) == {"serve good"}
    assert host.scorer("same")("a", "a")
    assert host.command("serve good") is json.dumps
    assert host.price_tables()["good"].path == "prices.toml"


BROKEN = {
    "import": ("raise RuntimeError('half installed')", "RuntimeError: half installed"),
    "missing module": ("import no_such_sdk", "No module named 'no_such_sdk'"),
    "exit": ("raise SystemExit(3)", "SystemExit: 3"),
    "unknown hook": (
        "@hookimpl\ndef understudy_backend():\n    yield spec('a')",
        "it implements understudy_backend, and there is no such hook",
    ),
    "unmarked hook": (
        "def understudy_backends():\n    yield spec('a')",
        "understudy_backends is not marked as a hook",
    ),
    "wrong arguments": (
        "@hookimpl\ndef understudy_backends(config):\n    yield spec('a')",
        "its hooks do not fit their specification",
    ),
    "raising hook": (
        "@hookimpl\ndef understudy_backends():\n    raise KeyError('x')",
        "understudy_backends raised KeyError: 'x'",
    ),
    "raising generator": (
        "@hookimpl\ndef understudy_backends():\n    yield spec('a')\n    raise OSError('disk')",
        "understudy_backends raised OSError: disk",
    ),
    "wrong record": (
        "@hookimpl\ndef understudy_backends():\n    yield 'openai'",
        "understudy_backends yields a str, not BackendSpec",
    ),
    "twice": (
        "@hookimpl\ndef understudy_backends():\n    yield spec('a')\n    yield spec('a')",
        "understudy_backends yields 'a' twice",
    ),
    "later api": (
        "@hookimpl\ndef understudy_backends():\n    yield spec('a', api='>=9')",
        "was written for API >=9; this is API 1.0",
    ),
    "earlier api": (
        "@hookimpl\ndef understudy_backends():\n    yield spec('a', api='<1')",
        "was written for API <1; this is API 1.0",
    ),
    "no specifier": (
        "@hookimpl\ndef understudy_backends():\n    yield spec('a', api='one')",
        "which is no specifier",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_listed_and_stops_nothing(make, case):
    body, reason = BROKEN[case]
    host = make(p_broken=body, p_good=GOOD)
    broken, good = host.plugins()
    assert broken.status == "failed"
    assert reason in broken.reason
    assert broken.fix
    assert broken.provides == ()
    assert good.status == "ok"
    assert set(host.backends()) == {"good"}


def test_damaged_metadata_stops_nothing(tmp_path, monkeypatch):
    write_plugin(tmp_path, "p_damaged", GOOD)
    (tmp_path / "p_damaged-1.2.dist-info" / "METADATA").unlink()
    (tmp_path / "p_odd-1.dist-info").mkdir()
    (tmp_path / "p_odd-1.dist-info" / "entry_points.txt").write_text(f"[{GROUP}]\np_odd = !!\n")
    monkeypatch.syspath_prepend(tmp_path)
    infos = {info.name: info for info in PluginHost().plugins()}
    sys.modules.pop("p_damaged", None)
    assert infos["p_damaged"].status == "ok"
    assert infos["p_damaged"].distribution == "p_damaged"
    assert infos["p_odd"].status == "failed"


def test_fixes_say_what_to_do(make):
    host = make(
        p_later=BROKEN["later api"][0],
        p_earlier=BROKEN["earlier api"][0],
        p_hook=BROKEN["unknown hook"][0],
        p_core="from understudy.backend import SupportsTeleport",
    )
    fixes = {info.name: info.fix for info in host.plugins()}
    assert fixes["p_later"] == "pip install --upgrade understudy"
    assert fixes["p_earlier"] == "pip install --upgrade p_earlier"
    assert fixes["p_hook"].startswith("did you mean 'understudy_backends'?")
    assert fixes["p_core"].startswith("pip install --upgrade understudy,")


def test_secrets_in_an_import_error_are_not_shown(make):
    host = make(p_leak="raise RuntimeError('no answer with sk-abcdef0123456789')")
    assert "sk-abcdef" not in repr(host.plugins())


def test_asking_for_a_failed_plugin_raises_from_the_original(make):
    host = make(mine="raise RuntimeError('half installed')", later=BROKEN["later api"][0])
    with pytest.raises(PluginLoadError, match="half installed") as caught:
        host.backend_class("mine")
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(PluginApiError, match="API >=9"):
        host.backend_class("a")


def test_unknown_backend_names_the_nearest_and_the_broken(make):
    host = make(p_good=GOOD, p_broken="raise RuntimeError('x')")
    with pytest.raises(ConfigError, match=r"did you mean 'good'\?.*p_broken"):
        host.backend_class("god")


def test_a_contested_name_lists_both_and_raises(make):
    two = GOOD.replace('"serve good"', '"serve other"').replace('"same"', '"alike"')
    host = make(p_one=GOOD, p_two=two)
    assert {info.status for info in host.plugins()} == {"conflict"}
    assert "p_one and p_two" in host.plugins()[0].reason
    assert host.backends() == {}
    assert set(host.commands()) == {"serve good", "serve other"}
    with pytest.raises(PluginConflictError, match="p_one and p_two"):
        host.backend_class("good")
    with pytest.raises(PluginConflictError, match="p_one and p_two"):
        host.make_backend("good", load_config(env={}))


def test_a_plugin_cannot_take_a_command_of_the_core(make):
    host = make(reserved=("serve good",), p_good=GOOD)
    assert host.plugins()[0].status == "conflict"
    assert host.commands() == {}
    with pytest.raises(PluginConflictError, match="p_good and understudy"):
        host.command("serve good")


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        ("pytest>=9999", r"pytest [\d.]+ is installed; run: pip install it"),
        ("no-such-sdk>=1", "it is not installed; run: pip install it"),
    ],
)
def test_requirements_are_checked_at_first_use(make, requires, words):
    body = f"@hookimpl\ndef understudy_backends():\n    yield spec('a', requires=('{requires}',))"
    host = make(p_needs=body)
    assert host.plugins()[0].status == "ok"
    with pytest.raises(PluginLoadError, match=words):
        host.backend_class("a")


def test_a_requirement_of_another_platform_is_passed_over(make):
    requires = 'no-such-sdk; sys_platform == "nowhere"'
    target = "understudy.testing.fakes:FakeBackend"
    body = f"""
    @hookimpl
    def understudy_backends():
        yield spec("a", requires=({requires!r},), target={target!r})
    """
    assert make(p_needs=body).backend_class("a") is FakeBackend


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_sdk:X", "No module named 'no_such_sdk'.*try: pip install it"),
        ("json:NoSuchClass", "has no attribute 'NoSuchClass'"),
        ("json:JSONDecoder", "not a subclass of understudy.backend.Backend"),
    ],
)
def test_a_target_that_is_no_backend_is_a_load_error(make, target, words):
    host = make(
        p_bad=f"@hookimpl\ndef understudy_backends():\n    yield spec('a', target='{target}')"
    )
    with pytest.raises(PluginLoadError, match=words):
        host.backend_class("a")


def config(tmp_path: Path, text: str, **env: str) -> Config:
    (tmp_path / "understudy.toml").write_text(text)
    return load_config(tmp_path / "understudy.toml", env=env)


def test_make_backend_of_an_instance_with_another_name(tmp_path):
    host = PluginHost(entry_points=[FAKE])
    settings = config(
        tmp_path, '[backends.mine]\nuses = "fake"\nprovider = "x"', UNDERSTUDY_FAKE_KEY="sk-abc"
    )
    clock = ManualClock()
    backend = host.make_backend("mine", settings, clock)
    assert isinstance(backend, FakeBackend)
    assert (backend.name, backend.clock) == ("mine", clock)
    assert backend.settings.provider == "x"
    assert backend.settings.api_key.get_secret_value() == "sk-abc"


def test_make_backend_refuses_unknown_names_with_the_nearest(tmp_path):
    host = PluginHost(entry_points=[FAKE])
    settings = config(tmp_path, '[backends.mine]\nuses = "fake"\nprovder = "x"')
    with pytest.raises(ConfigError, match=r"\[backends.mine\].*did you mean 'provider'"):
        host.make_backend("mine", settings)
    with pytest.raises(ConfigError, match="did you mean 'mine'"):
        host.make_backend("mime", settings)


def test_nothing_is_imported_before_first_use(make):
    host = make(p_good=GOOD.replace("json:JSONDecoder", "antigravity:x"))
    assert "good" in host.backends()
    assert "antigravity" not in sys.modules


def test_import_target_keeps_the_original_error():
    with pytest.raises(PluginLoadError) as caught:
        import_target("no_such_sdk:x", what="scorer 'x'")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert isinstance(caught.value, PluginError)


@pytest.fixture(scope="module")
def three_bad(tmp_path_factory: pytest.TempPathFactory):
    """A command line with three bad distributions installed for real; returns its runner."""
    folder = tmp_path_factory.mktemp("site")
    write_plugin(folder, "bad_import", BROKEN["import"][0])
    write_plugin(folder, "bad_hook", BROKEN["unknown hook"][0])
    write_plugin(folder, "bad_api", BROKEN["later api"][0])
    env = {**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1"}
    env.pop("UNDERSTUDY_CONFIG", None)

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "understudy.cli", *args]
        return subprocess.run(
            command, env=env, cwd=folder, capture_output=True, text=True, check=False
        )

    return run


def test_cli_lists_three_bad_plugins_as_lines(three_bad):
    done = three_bad("plugins")
    assert done.returncode == 0
    for name, reason in [
        ("bad_import", "RuntimeError: half installed"),
        ("bad_hook", "understudy_backend, and there is no such hook"),
        ("bad_api", "written for API >=9"),
    ]:
        (line,) = [text for text in done.stdout.splitlines() if text.startswith(f"{name}\t")]
        assert "\tfailed\t" in line
        assert reason in line


def test_cli_lists_three_bad_plugins_as_json(three_bad):
    done = three_bad("plugins", "--json")
    assert done.returncode == 0
    records = {item["name"]: item for item in json.loads(done.stdout)}
    for name in ("bad_import", "bad_hook", "bad_api"):
        assert records[name]["status"] == "failed"
        assert records[name]["version"] == "1.2"
        assert records[name]["reason"]
        assert records[name]["fix"]


def test_cli_goes_on_with_three_bad_plugins(three_bad):
    shown = three_bad("backends")
    assert shown.returncode == 0
    assert "`understudy plugins` says why" in shown.stderr
    assert three_bad("--help").returncode == 0
    unknown = three_bad("frobnicate")
    assert unknown.returncode == 2
    assert "bad_import" in unknown.stderr
