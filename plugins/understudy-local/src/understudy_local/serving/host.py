"""``python -m understudy_local.serving.host ORDER``: the process that serves one model.

It holds the model, answers HTTP by llama.cpp's own server, and ends by itself when nobody has
asked for a while. While it loads it holds a lock that whoever waits for it can wait on.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import orjson

from understudy_local import processes
from understudy_local.artifacts import write_json

__all__ = ["leave", "main", "open_server"]

_LOOK_EVERY = 2.0
_COUNTERS = ("prompt_tokens_total", "prompt_tokens_cached_total", "tokens_predicted_total")
_BUSY = ("requests_processing", "requests_deferred")


def open_server(order: Mapping[str, Any], *, key: str) -> Any:
    """llama.cpp's server on the model of ``order``, listening.

    Raises:
        RuntimeError: the file cannot be loaded, or the address is taken.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = order["path"]
    params.model_alias = {order["name"]}
    params.hostnames = [order["host"]]
    params.port = order["port"]
    params.api_keys = [key] if key else []
    params.n_parallel = order["parallel"]
    params.n_ctx = order["context"] * order["parallel"]
    params.cpuparams.n_threads = order["threads"]
    params.cpuparams_batch.n_threads = order["threads"]
    params.n_gpu_layers = order["gpu_layers"]
    params.endpoint_metrics = True
    params.use_jinja = True  # the student's own chat template, out of the file
    params.warmup = False
    params.ui = False
    return xllamacpp.Server(params)


def main(order: Mapping[str, Any]) -> None:
    """Serve until nobody has asked for ``idle`` seconds, or a signal says to end."""
    folder = Path(order["folder"])
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    key = secrets.token_urlsafe(24)
    try:
        server = open_server(order, key=key)
    except Exception as error:  # noqa: BLE001 - the server has no errors of its own
        write_json(folder / "failure.json", {"message": f"{type(error).__name__}: {error}"})
        # What it has begun to load may keep the process from its end.
        os._exit(1)
    me = processes.identify()
    assert me is not None
    told = {**me.to_json(), "url": server.listening_address, "key": key, "name": order["name"]}
    _tell(folder / "server.json", told)
    for held in order["loading"]:
        os.close(held)
    while _wanted(server, ending, order["idle"]):
        seen = _asked(server)
        (folder / "server.json").unlink(missing_ok=True)
        # Whoever read the address just before is answered still; nobody new comes.
        if ending.wait(_LOOK_EVERY) or seen == _asked(server):
            break
        _tell(folder / "server.json", told)
    (folder / "server.json").unlink(missing_ok=True)
    leave()


def leave() -> NoReturn:
    """End at once: llama.cpp's own way out waits for ever where a request is under way."""
    sys.stdout.flush()
    os._exit(0)


def _tell(path: Path, told: Mapping[str, Any]) -> None:
    """For this user's eyes only: the key is in it."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(dict(told)))
    part.replace(path)


def _wanted(server: Any, ending: threading.Event, idle: float) -> bool:
    """Waits; True once nobody has asked for ``idle`` seconds, False when it is to end at once."""
    seen, quiet = _asked(server), 0.0
    while quiet < idle:
        if ending.wait(min(_LOOK_EVERY, idle)):
            return False
        now = _asked(server)
        quiet = quiet + min(_LOOK_EVERY, idle) if now == seen else 0.0
        seen = now
    return True


def _asked(server: Any) -> tuple[float, ...] | None:
    """Counts that change with every request; None, equal to nothing, while one is answered."""
    figures: dict[str, float] = {}
    for line in server.handle_metrics().splitlines():
        name, _, value = line.removeprefix("llamacpp:").partition(" ")
        if not line.startswith("#") and value:
            figures[name] = float(value)
    if any(figures.get(name, 0.0) for name in _BUSY):
        return (secrets.randbits(64),)
    return tuple(figures.get(name, 0.0) for name in _COUNTERS)


if __name__ == "__main__":
    main(orjson.loads(sys.argv[1]))
