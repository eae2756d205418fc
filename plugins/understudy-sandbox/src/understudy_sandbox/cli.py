"""``understudy serve sandbox`` and ``python -m understudy_sandbox``."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy_sandbox.config import DEFAULT_KEY, Config, Timings

if TYPE_CHECKING:
    from collections.abc import Callable


def _pairs(texts: Sequence[str]) -> dict[str, int]:
    made = {}
    for text in texts:
        model, equals, days = text.partition("=")
        if not equals or not days.lstrip("-").isdigit():
            raise typer.BadParameter(
                f"--shutdown {text!r}: give MODEL=DAYS, such as gpt-4o-2024-08-06=30"
            )
        made[model] = int(days)
    return made


def _rules(path: Path | None) -> tuple[dict[str, Any], ...]:
    if path is None:
        return ()
    rules = json.loads(path.read_text())
    if not isinstance(rules, list):
        raise typer.BadParameter(f"--faults {path}: the file must hold a JSON list of rules")
    return tuple(rules)


def run(config: Config, *, on_ready: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        config: the sandbox's settings.
        on_ready: called with the base URL (ending in ``/v1``) once requests are answered.
    """
    import uvicorn

    from understudy_sandbox.server import build_app
    from understudy_sandbox.wire import Protocol

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio switches Nagle off only where the protocol is named; else every reply waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((config.host, config.port))
    listener.listen(512)
    port = listener.getsockname()[1]
    host = f"[{config.host}]" if ":" in config.host else config.host

    class Server(uvicorn.Server):
        """Says when it listens."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Start, then report."""
            await super().startup(sockets=sockets)
            on_ready(f"http://{host}:{port}/v1")

    settings = uvicorn.Config(
        build_app(config),
        http=Protocol,
        log_level="warning",
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    Server(settings).run(sockets=[listener])


def _ready(url: str) -> None:
    sys.stdout.write(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.")] = 0,
    data: Annotated[Path, typer.Option(help="Folder of the durable state.")] = Path(
        ".understudy/sandbox"
    ),
    api_key: Annotated[
        str,
        typer.Option(
            envvar="UNDERSTUDY_SANDBOX_KEY", help="Key that clients must send.", show_default=False
        ),
    ] = DEFAULT_KEY,
    clock: Annotated[str | None, typer.Option(help="Sandbox time at the anchor, ISO 8601.")] = None,
    clock_speed: Annotated[
        float | None, typer.Option(help="Sandbox seconds a real second.")
    ] = None,
    clock_anchor: Annotated[
        float | None, typer.Option(help="Real Unix seconds that several processes share.")
    ] = None,
    train_seconds: Annotated[float, typer.Option(help="Running time of a job.")] = 20.0,
    queue_seconds: Annotated[float, typer.Option(help="Queued time of a job.")] = 3.0,
    validate_seconds: Annotated[float, typer.Option(help="Validation time of a job.")] = 2.0,
    batch_seconds: Annotated[float, typer.Option(help="Running time of a batch.")] = 5.0,
    shutdown: Annotated[
        list[str] | None, typer.Option(help="MODEL=DAYS from now to its shutdown; repeatable.")
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="JSON file with the fault script.")] = None,
    batch_token_limit: Annotated[
        int, typer.Option(help="Enqueued batch tokens allowed for each model.")
    ] = 2_000_000_000,
    learner: Annotated[str, typer.Option(help="Learner by registered name.")] = "default",
) -> None:
    """Serve the sandbox: a fine-tuning provider on this machine. Its figures are its own."""
    try:
        config = Config(
            data=data,
            api_key=api_key,
            host=host,
            port=port,
            clock_start=clock,
            clock_speed=clock_speed,
            clock_anchor=clock_anchor,
            timings=Timings(
                validating=validate_seconds,
                queued=queue_seconds,
                running=train_seconds,
                batch_running=batch_seconds,
            ),
            shutdown=_pairs(shutdown or ()),
            faults=_rules(faults),
            batch_token_limit=batch_token_limit,
            learner=learner,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    run(config, on_ready=_ready)
