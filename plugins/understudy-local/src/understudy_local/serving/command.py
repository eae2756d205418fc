"""``understudy serve local``: one model, OpenAI-compatible, in the foreground."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated, Literal

import typer

from understudy.errors import ConfigError, NotFound
from understudy_local.artifacts import Home, ModelName
from understudy_local.formats import FileName
from understudy_local.serving import pool
from understudy_local.serving.host import leave, open_server
from understudy_local.serving.models import Served, served
from understudy_local.settings import LocalSettings

__all__ = ["serve"]

_KEY = "UNDERSTUDY_LOCAL_SERVE_KEY"


def serve(
    model: Annotated[
        str, typer.Argument(help="A model's id (`understudy models show`), a GGUF file, a student.")
    ],
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 0,
    api_key: Annotated[
        str, typer.Option(envvar=_KEY, help="Key that clients must send.", show_default=False)
    ] = "",
    home: Annotated[
        Path | None, typer.Option(envvar="UNDERSTUDY_LOCAL_HOME", help="Where the models are.")
    ] = None,
    context: Annotated[int, typer.Option(min=128, help="Longest request in tokens.")] = 2048,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Requests at once.")] = 4,
    engine: Annotated[
        Literal["llama.cpp", "vllm"],
        typer.Option(help="vllm serves the merged weights on a CUDA GPU; untried by us."),
    ] = "llama.cpp",
) -> None:
    """Serve a model until interrupted. Off loopback it wants a key."""
    if not api_key and not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines, so a key is wanted: set {_KEY}"
        )
    given = {} if home is None else {"home": home}
    settings = LocalSettings(context_tokens=context, parallel_requests=parallel, **given)
    if engine == "vllm":
        _vllm(settings, model, host=host, port=port, api_key=api_key)
        return
    try:
        found = served(Home(settings.home), model)
    except NotFound as error:
        raise ConfigError(str(error)) from None
    _llama(settings, found, host=host, port=port, api_key=api_key)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _llama(settings: LocalSettings, found: Served, *, host: str, port: int, api_key: str) -> None:
    order = pool.order_of(settings.home, found, settings) | {"host": host, "port": port}
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        server = open_server(order, key=api_key)
    except ImportError:
        raise ConfigError(
            "xllamacpp is not installed: pip install 'understudy-local[gguf]'"
        ) from None
    except Exception as error:  # noqa: BLE001 - the server has no errors of its own
        raise ConfigError(
            f"{found.path} cannot be served on {host}, port {port} ({error}); is it a GGUF file, "
            "and is the port free?"
        ) from None
    told = {"url": f"{server.listening_address}/v1", "model": found.name, "pid": os.getpid()}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    ending.wait()
    leave()


def _vllm(settings: LocalSettings, model: str, *, host: str, port: int, api_key: str) -> None:
    """Hand over to vLLM, which takes Hugging Face folders and wants a GPU."""
    name = FileName.parse(model)
    trained = ModelName.parse(model if name is None else name.model)
    folder = Path(model) if trained is None else Home(settings.home).job(trained.job).merged
    program = shutil.which("vllm")
    if program is None:
        raise ConfigError("vllm is not installed; leave --engine out to serve by llama.cpp")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} holds no merged weights; export the model first")
    command = [program, "serve", os.fspath(folder), "--served-model-name", model, "--host", host]
    # By environment: a command line is open to every user of the machine.
    key = {"VLLM_API_KEY": api_key} if api_key else {}
    code = subprocess.run(  # noqa: S603 - the program that was asked for
        [*command, "--port", str(port or 8000), "--max-model-len", str(settings.context_tokens)],
        env={**os.environ, **key},
        check=False,
    ).returncode
    raise typer.Exit(code)
