"""Settings, and what the package costs at start-up."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

import understudy_openai
from openai_kit import KEY, Clock
from understudy import backend as contract
from understudy.errors import AuthError
from understudy.model import Handle
from understudy_openai import OpenAIBackend, OpenAISettings, is_loopback
from understudy_openai.plugin import CAPABILITIES, understudy_backends


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/v1", "http://localhost/v1", "http://[::1]:9/v1", "https://h/v1/"]
)
def test_addresses_that_keep_the_key_private(url: str) -> None:
    assert OpenAISettings(base_url=url).base_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://h/v1", "plain http"),
        ("http://127.0.0.1.example.com/v1", "plain http"),
        ("ftp://h/v1", "not an http"),
        ("h/v1", "not an http"),
        ("https://me:pw-planted@h/v1", "no user, password"),
        ("https://h/v1?sig=pw-planted", "no user, password"),
    ],
)
def test_addresses_that_are_refused_without_being_repeated(url: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        OpenAISettings(base_url=url)
    assert "pw-planted" not in str(caught.value)


def test_plain_http_to_another_machine_only_when_asked_for() -> None:
    assert OpenAISettings(base_url="http://h/v1", allow_http=True).base_url == "http://h/v1"
    assert not is_loopback("http://h/v1")


def test_the_key_is_trimmed_and_refused_where_it_cannot_be_one() -> None:
    made = OpenAISettings(api_key=SecretStr(f" {KEY}\n"))
    assert made.api_key is not None
    assert made.api_key.get_secret_value() == KEY
    assert OpenAISettings(api_key=SecretStr(" ")).api_key is None
    for bad in ("sk-a b", "sk-ä", "sk-a\nb"):
        with pytest.raises(ValidationError) as caught:
            OpenAISettings(api_key=SecretStr(bad))
        assert bad not in str(caught.value)
    assert KEY not in f"{made!r} {made}"


def test_a_request_may_not_outlast_the_engines_lease() -> None:
    assert OpenAISettings().request_timeout < CAPABILITIES.request_timeout
    with pytest.raises(ValidationError):
        OpenAISettings(request_timeout=CAPABILITIES.request_timeout + 1)


def test_the_transport_follows_no_redirect_and_keeps_loopback_off_proxies() -> None:
    for url, by_proxy in (("http://127.0.0.1:9/v1", False), ("https://h/v1", True)):
        settings = OpenAISettings(base_url=url)
        with OpenAIBackend(name="x", settings=settings, clock=Clock()).transport() as made:
            assert (made.follow_redirects, made.trust_env) == (False, by_proxy)


def test_without_a_key_the_offline_part_works_and_a_request_says_what_to_set() -> None:
    backend = OpenAIBackend(name="mine", settings=OpenAISettings(), clock=Clock())
    with pytest.raises(AuthError, match=r"OPENAI_API_KEY, .+ \[backends.mine\]"):
        backend.poll(Handle(kind="job", id="ftjob-1"))


def test_capabilities_and_methods_agree() -> None:
    traits: dict[str, Any] = {
        "find": contract.SupportsFind,
        "poll_many": contract.SupportsPollMany,
        "cancel": contract.SupportsCancel,
        "pause": contract.SupportsPause,
        "events": contract.SupportsEvents,
        "checkpoints": contract.SupportsCheckpoints,
        "infer": contract.SupportsInfer,
        "estimate": contract.SupportsEstimate,
        "lifecycle": contract.SupportsLifecycle,
        "listing": contract.SupportsList,
    }
    backend = OpenAIBackend(name="openai", settings=OpenAISettings(), clock=Clock())
    for name, protocol in traits.items():
        assert getattr(CAPABILITIES, name).ok == isinstance(backend, protocol)
    for name in ("deploy", "batch", "export"):
        assert getattr(CAPABILITIES, name).reason


def test_the_spec_leads_to_the_class() -> None:
    (spec,) = understudy_backends()
    module, name = spec.target.split(":")
    assert (spec.name, module, name) == ("openai", OpenAIBackend.__module__, "OpenAIBackend")


def test_the_public_names_are_sorted_and_there() -> None:
    assert understudy_openai.__all__ == sorted(understudy_openai.__all__)
    for name in understudy_openai.__all__:
        assert getattr(understudy_openai, name).__name__ == name


def test_start_up_imports_no_sdk() -> None:
    light = ("plugin", "params", "lists", "wire_errors", "wire_chat", "doctor", "uploads")
    imports = ", ".join(f"understudy_openai.{name}" for name in light)
    heavy = "[n for n in sys.modules if n.split('.')[0] in {'openai', 'httpx2'}]"
    code = f"import sys, {imports}; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
