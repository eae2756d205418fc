from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest
from pydantic import SecretStr

from understudy.backend import Settings
from understudy.cli.output import print_json
from understudy.clock import FastClock, SystemClock
from understudy.config import load_config, resolve_settings, shown_url
from understudy.errors import ConfigError

SECRET = "sk-planted-0123456789"


class Mine(Settings):
    env = {"api_key": "MINE_KEY", "base_url": "MINE_URL"}  # noqa: RUF012

    api_key: SecretStr
    password: SecretStr | None = None
    base_url: str = "https://example.com"
    retries: int = 0


def write(folder: Path, text: str) -> Path:
    file = folder / "understudy.toml"
    file.write_text(text, encoding="utf-8")
    return file


def resolve(table: dict[str, object], **env: str) -> Mine:
    return resolve_settings(Mine, table, env, where="[backends.mine]")


def test_defaults_without_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(env={})
    assert config.file is None
    assert config.store.url.get_secret_value() == f"sqlite:///{tmp_path}/.understudy/understudy.db"
    assert config.data.root == tmp_path / ".understudy/datasets"
    assert (config.worker.lease_seconds, config.worker.concurrency) == (120, 4)
    assert (config.worker.poll_seconds, config.worker.poll_max_seconds) == (15, 300)
    assert isinstance(config.clock, SystemClock)


def test_the_file_in_the_working_folder_is_found(tmp_path, monkeypatch):
    write(tmp_path, "[worker]\nconcurrency = 9")
    monkeypatch.chdir(tmp_path)
    assert load_config(env={}).worker.concurrency == 9


def test_relative_paths_start_at_the_file(tmp_path, monkeypatch):
    inner = tmp_path / "project"
    inner.mkdir()
    costs = '[costs]\nprice_tables = ["p.toml"]\n'
    file = write(inner, f'{costs}[store]\nurl = "sqlite:///state.db"\n[data]\nroot = "sets"')
    monkeypatch.chdir(tmp_path)
    config = load_config(env={"UNDERSTUDY_CONFIG": str(file)})
    assert config.project == inner
    assert config.store.url.get_secret_value() == f"sqlite:///{inner}/state.db"
    assert config.data.root == inner / "sets"
    assert config.costs.price_tables == (inner / "p.toml",)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql+psycopg://h/db"])
def test_other_store_urls_stay_as_they_are(tmp_path, url):
    config = load_config(write(tmp_path, ""), env={"UNDERSTUDY_STORE": url})
    assert config.store.url.get_secret_value() == url


def test_the_environment_wins_for_the_store(tmp_path):
    file = write(tmp_path, '[store]\nurl = "sqlite:///a.db"')
    config = load_config(file, env={"UNDERSTUDY_STORE": "sqlite:////elsewhere/b.db"})
    assert config.store.url.get_secret_value() == "sqlite:////elsewhere/b.db"


def test_a_store_password_is_never_shown(tmp_path):
    url = f"postgresql://me:{SECRET}@host:5432/db?password={SECRET}"
    config = load_config(write(tmp_path, ""), env={"UNDERSTUDY_STORE": url, "KEY": SECRET})
    assert config.store.shown == "postgresql://me:***@host:5432/db"
    assert SECRET not in f"{config!r} {config} {config.store!r} {config.store}"
    assert SECRET not in config.store.model_dump_json()
    assert SECRET not in repr(dataclasses.asdict(config))
    with pytest.raises(TypeError, match="Environment"):
        print_json(config.env)


def test_backend_tables_are_not_in_the_repr(tmp_path):
    config = load_config(write(tmp_path, f'[backends.a]\nx = "{SECRET}"'), env={})
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("sqlite:///x.db?key=secret", "sqlite:///x.db"),
        ("redis://:pw@host/0", "redis://:***@host/0"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://me:p@ss@host/db", "postgresql://me:***@host/db"),
    ],
)
def test_shown_url(url, shown):
    assert shown_url(url) == shown


def test_a_config_travels_to_another_process(tmp_path):
    config = load_config(write(tmp_path, "[backends.a]\nx = 1"), env={})
    assert pickle.loads(pickle.dumps(config)) == config


def test_the_clock_comes_from_the_environment(tmp_path):
    env = {"UNDERSTUDY_CLOCK": "2028-01-01T00:00:00Z,60,0"}
    clock = load_config(write(tmp_path, ""), env=env).clock
    assert clock == FastClock(start=1830297600.0, anchor=0.0, speed=60.0)
    with pytest.raises(ConfigError, match="UNDERSTUDY_CLOCK is 'noon'"):
        load_config(write(tmp_path, ""), env={"UNDERSTUDY_CLOCK": "noon"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[stor]\nurl = 'x'",
            r"understudy.toml: \[stor\] is not a known name: did you mean 'store'",
        ),
        ("[worker]\nlease = 1", r"\[worker.lease\].*did you mean 'lease_seconds'"),
        ("[worker]\nconcurrency = 0", r"\[worker.concurrency\].*greater than or equal to 1"),
        ("[worker\n", r"understudy.toml: not valid TOML:.*line 1"),
        ("[backends.a]\nuses = 3", "a.uses is the name of a backend plugin"),
        ("[backends]\na = 3", r"\[backends.a\].*dictionary"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, text), env={})


def test_a_named_file_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="--config names this settings file"):
        load_config(tmp_path / "no.toml", env={})
    with pytest.raises(ConfigError, match="UNDERSTUDY_CONFIG names"):
        load_config(env={"UNDERSTUDY_CONFIG": str(tmp_path / "no.toml")})


def test_uses_names_the_plugin(tmp_path):
    config = load_config(write(tmp_path, '[backends.eu]\nuses = "openai"\nregion = "eu"'), env={})
    assert config.backend_settings("eu") == ("openai", {"region": "eu"})
    assert config.backend_settings("openai") == ("openai", {})
    assert config.backends["eu"]["uses"] == "openai"


def test_the_table_wins_and_the_environment_fills_in():
    settings = resolve({"base_url": "https://table"}, MINE_KEY=SECRET, MINE_URL="https://env")
    assert settings.base_url == "https://table"
    assert settings.api_key.get_secret_value() == SECRET
    assert resolve({}, MINE_KEY=SECRET, MINE_URL="https://env").base_url == "https://env"


def test_a_secret_is_named_and_not_written_down():
    settings = resolve({"api_key_env": "OTHER", "password_env": "PW"}, OTHER=SECRET, PW="pw")
    assert settings.api_key.get_secret_value() == SECRET
    assert settings.password is not None
    assert settings.password.get_secret_value() == "pw"


@pytest.mark.parametrize("field", ["api_key", "password"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(field):
    with pytest.raises(ConfigError, match=rf"\[{field}\] is a secret.*{field}_env = ") as caught:
        resolve({field: SECRET}, MINE_KEY="k")
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize("value", [SECRET, "sk_planted_secret", 17, ""])
def test_a_secret_under_the_wrong_name_is_not_repeated(value):
    with pytest.raises(ConfigError, match="must be the name of an environment variable") as caught:
        resolve({"api_key_env": value})
    assert str(value) == "" or str(value) not in str(caught.value)


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(ConfigError, match="OTHER_KEY, which is not set"):
        resolve({"api_key_env": "OTHER_KEY"}, MINE_KEY="k")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"base_ulr": "x"}, "did you mean 'base_url'"),
        ({"base_url_env": "X"}, r"\[base_url_env\] is not a known name"),
        ({"retries": "many"}, r"\[retries\].*integer"),
    ],
)
def test_settings_are_checked(table, words):
    with pytest.raises(ConfigError, match=words) as caught:
        resolve(table, MINE_KEY=SECRET)
    assert SECRET not in str(caught.value)


def test_a_missing_setting_is_named():
    with pytest.raises(ConfigError, match=r"\[api_key\] Field required"):
        resolve({})
