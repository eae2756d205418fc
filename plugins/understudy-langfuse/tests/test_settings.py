from __future__ import annotations

from pathlib import Path

import pytest

from understudy.config import load_config
from understudy.errors import ConfigError
from understudy.plugins import PluginHost
from understudy_langfuse.score_sink import LangfuseScoreSink
from understudy_langfuse.trace_sink import LangfuseTraceSink

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-planted"}


def config(folder: Path, text: str = "", env: dict[str, str] | None = None):
    path = folder / "understudy.toml"
    path.write_text(text)
    return load_config(path, KEYS if env is None else env)


def test_the_host_makes_sinks_from_the_services_table(tmp_path) -> None:
    found = config(tmp_path, '[services.langfuse]\nbase_url = "https://lf.example/"\n')
    host = PluginHost()
    sink = host.make_trace_sink("langfuse", found, tmp_path / "spool")
    scores = host.make_score_sink("langfuse", found)
    assert isinstance(sink, LangfuseTraceSink)
    assert isinstance(scores, LangfuseScoreSink)
    assert sink.settings.base_url == "https://lf.example"  # type: ignore[attr-defined]
    assert "sk-lf-planted" not in repr(sink.settings) + repr(scores.settings)
    assert not (tmp_path / "spool").exists()  # making one does no I/O


def test_the_plugin_is_listed_with_what_it_brings() -> None:
    (info,) = [one for one in PluginHost().plugins() if one.name == "langfuse"]
    assert (info.status, info.provides) == (
        "ok",
        ("score sink langfuse", "source langfuse", "trace sink langfuse"),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[services.langfuse]\nsecret_key = "sk-lf-planted"', "must not stand in the file"),
        ('[services.langfuse]\nbase_url = "lf.example"', "is the server's address"),
        ('[services.langfuse]\nbase_url = "https://a:b@lf.example"', "is an address alone"),
        ('[services.langfuse]\npublic_key = "sk-lf-planted"', "is a secret key"),
        ('[services.langfuse]\nenvironment = "langfuse-x"', "are Langfuse's own"),
        ('[services.langfuse]\nregion = "eu"', "not a known name"),
    ],
)
def test_settings_that_cannot_work_are_told(tmp_path, text, says) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        PluginHost().make_score_sink("langfuse", config(tmp_path, text))
    assert "sk-lf-planted" not in str(caught.value)


def test_without_keys_it_says_which_are_missing(tmp_path) -> None:
    with pytest.raises(ConfigError, match="public_key") as caught:
        PluginHost().make_score_sink("langfuse", config(tmp_path, env={}))
    assert "secret_key" in str(caught.value)
