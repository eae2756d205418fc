from __future__ import annotations

import sys
import types
from importlib.metadata import EntryPoint

import pytest

from understudy.cache import CacheOptions, open_cache, open_configured
from understudy.cache.sqlite import SqliteCache
from understudy.config import load_config
from understudy.errors import AuthError, ConfigError, PluginLoadError, Unavailable
from understudy.hookspecs import CacheStoreSpec, hookimpl
from understudy.plugins import PluginHost


def test_a_folder_is_the_embedded_store(tmp_path):
    assert isinstance(open_cache(tmp_path / "c"), SqliteCache)
    assert open_cache(f"sqlite:///{tmp_path}/c").shown == str(tmp_path / "c")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redsi://host", "did you mean 'redis'"),
        ("sqlite://host/folder", "sqlite:///folder"),
        ("redis://host:port/0", "redis://"),
        ("plain", "no cache store for ''"),
    ],
)
def test_a_url_that_cannot_work_says_how_to_write_one(url, words):
    with pytest.raises(ConfigError, match=words):
        open_cache(url)


@pytest.mark.parametrize(
    "url", ["redis://:hunter2secret@127.0.0.1:1/0", "postgresql://u:hunter2secret@127.0.0.1:1/d"]
)
def test_a_store_that_is_not_there_says_where_without_its_password(url):
    with open_cache(url) as store, pytest.raises(Unavailable) as caught:
        store.get("c", b"k" * 32)
    assert "127.0.0.1:1" in str(caught.value)
    assert "hunter2secret" not in f"{caught.value!r} {caught.value.__cause__} {store.shown}"
    assert "hunter2secret" not in repr(store)


def test_a_wrong_password_is_no_outage(redis_url):
    from redis import Redis

    client = Redis.from_url(redis_url)
    client.acl_setuser("guarded", enabled=True, passwords=["+right"], categories=["+@all"])
    path = redis_url.removeprefix("unix://")
    with (
        open_cache(f"unix://guarded:hunter2secret@{path}") as store,
        pytest.raises(AuthError, match="password") as caught,
    ):
        store.caches()
    client.acl_deluser("guarded")
    client.close()
    assert "hunter2secret" not in str(caught.value)


def opened(url, options):
    return (url, options)


def plugin(name, spec):
    module = types.ModuleType(name)
    module.understudy_cache_stores = hookimpl(lambda: [spec])
    sys.modules[name] = module
    return EntryPoint(name=name, value=name, group="understudy")


def test_a_plugin_brings_a_store_for_its_scheme(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "stores_here", types.SimpleNamespace(opened=opened))
    spec = CacheStoreSpec(name="memo", target="stores_here:opened", help="In memory.")
    broken = CacheStoreSpec(
        name="lost", target="no_such_module:x", help="", install="pip install lost"
    )
    host = PluginHost(entry_points=[plugin("memo_plugin", spec), plugin("lost_plugin", broken)])
    assert "cache store memo" in host.plugins()[1].provides
    file = tmp_path / "understudy.toml"
    file.write_text('[cache]\nurl = "memo://here"\nmax_tail_bytes = 7\ncompress = false\n')
    url, options = open_configured(load_config(file, env={}), host)
    assert url == "memo://here"
    assert isinstance(options, CacheOptions)
    assert (options.max_tail_bytes, options.compress) == (7, False)
    lost = load_config(file, env={"UNDERSTUDY_CACHE": "lost://x"})
    with pytest.raises(PluginLoadError, match="pip install lost"):
        open_configured(lost, host)
    for name in ("memo_plugin", "lost_plugin"):
        del sys.modules[name]


def test_the_settings_say_where_the_cache_is(tmp_path):
    file = tmp_path / "understudy.toml"
    file.write_text("")
    host = PluginHost(entry_points=[])
    with open_configured(load_config(file, env={}), host) as store:
        assert store.shown == str(tmp_path / ".understudy" / "cache")
    settings = load_config(file, env={"UNDERSTUDY_CACHE": "redis://:hunter2secret@h"}).cache
    assert "hunter2secret" not in repr(settings)
