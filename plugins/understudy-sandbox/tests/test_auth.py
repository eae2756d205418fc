from __future__ import annotations

import httpx2 as httpx
import openai
import pytest

from understudy_sandbox.config import Config
from understudy_sandbox.launch import Sandbox, SandboxError


def test_wrong_key_is_refused_in_openais_envelope(sandbox: Sandbox) -> None:
    with (
        openai.OpenAI(base_url=sandbox.url, api_key="sk-wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.models.list()
    assert refused.value.status_code == 401
    assert refused.value.code == "invalid_api_key"
    assert "sk-wrong" not in str(refused.value)


def test_no_key_is_refused(sandbox: Sandbox) -> None:
    reply = httpx.get(f"{sandbox.url}/files")
    assert reply.status_code == 401
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_admin_routes_need_the_key_too(sandbox: Sandbox) -> None:
    root = sandbox.url.removesuffix("/v1")
    assert httpx.get(f"{root}/sandbox/bill").status_code == 401


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/nothing"), ("GET", "/")])
def test_unknown_paths_are_404_in_the_envelope(sandbox: Sandbox, method: str, path: str) -> None:
    root = sandbox.url.removesuffix("/v1")
    reply = httpx.request(method, root + path)
    assert reply.status_code == 404
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_wrong_method_is_405_in_the_envelope(sandbox: Sandbox) -> None:
    reply = httpx.put(f"{sandbox.url}/models", headers={"Authorization": "Bearer x"})
    assert reply.status_code == 405
    assert "error" in reply.json()


def test_listening_to_others_needs_a_key_of_ones_own(tmp_path) -> None:
    with pytest.raises(ValueError, match="api-key"):
        Config(data=tmp_path, host="0.0.0.0")
    assert Config(data=tmp_path, host="0.0.0.0", api_key="sk-own").host == "0.0.0.0"


def test_the_key_is_in_no_repr(tmp_path) -> None:
    config = Config(data=tmp_path, api_key="sk-planted-secret")
    sandbox = Sandbox(tmp_path, api_key="sk-planted-secret")
    assert "planted" not in repr(config)
    assert "planted" not in repr(sandbox)


def test_a_sandbox_that_cannot_start_says_why(tmp_path) -> None:
    broken = Sandbox(tmp_path, shutdown="no-such-model=3")
    with pytest.raises(SandboxError, match="no-such-model"):
        broken.start()
