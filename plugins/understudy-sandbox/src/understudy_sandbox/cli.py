"""``understudy serve sandbox`` and ``python -m understudy_sandbox``."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from understudy_sandbox.azure.settings import AzureSettings
from understudy_sandbox.config import DEFAULT_KEY, Config, Timings
from understudy_sandbox.faults import RULES
from understudy_sandbox.tls import Tls

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


def _azure(accounts: Sequence[str], **settings: Any) -> AzureSettings:
    named = dict(text.partition("=")[::2] for text in accounts)
    wrong = [f"{name}={region}" for name, region in named.items() if not name or not region]
    if wrong:
        raise typer.BadParameter(f"--azure-account {wrong[0]!r}: give NAME=REGION")
    return AzureSettings(accounts=named, **settings) if named else AzureSettings(**settings)


def _rules(path: Path | None) -> tuple[dict[str, Any], ...]:
    if path is None:
        return ()
    try:
        rules = json.loads(path.read_text())
        RULES.validate_python(rules)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))} {one['msg']}" for one in error.errors()]
        told = "; ".join(wrong)
        raise typer.BadParameter(f"--faults {path} is no list of rules: {told}") from None
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"--faults {path} cannot be read as JSON: {error}") from None
    return tuple(rules)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle off only where the protocol is named; else every reply waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ValueError(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another --port "
            "(0 picks a free one) or --host"
        ) from None
    listener.listen(512)
    return listener


def run(config: Config, *, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Serve until interrupted.

    Args:
        config: the sandbox's settings.
        on_ready: called once requests are answered, with ``url`` (ending in ``/v1``) and, where
            it listens with TLS too, ``tls_url`` (the server's root) and ``ca_file``.

    Raises:
        ValueError: it cannot listen there, or TLS was asked for and there is no certificate.
    """
    from understudy_sandbox.tls import context

    host = f"[{config.host}]" if ":" in config.host else config.host
    with ExitStack() as sockets:
        listener = sockets.enter_context(_listen(config.host, config.port))
        ready = {"url": f"http://{host}:{listener.getsockname()[1]}/v1", "pid": os.getpid()}
        secured: tuple[socket.socket, ssl.SSLContext] | None = None
        if config.tls is not None:
            made, authority = context(config.tls, config.data)
            secured = sockets.enter_context(_listen(config.host, config.tls.port)), made
            ready["tls_url"] = f"https://{host}:{secured[0].getsockname()[1]}"
            ready["ca_file"] = str(authority.resolve())
        _serve(config, listener, secured, lambda: on_ready(ready))


def _serve(
    config: Config,
    listener: socket.socket,
    secured: tuple[socket.socket, ssl.SSLContext] | None,
    on_ready: Callable[[], None],
) -> None:
    import uvicorn

    from understudy_sandbox.server import build_app
    from understudy_sandbox.wire import Protocol

    class Server(uvicorn.Server):
        """Listens twice where TLS is asked for, and says when it listens."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Start, then report."""
            await super().startup(sockets=sockets)
            if secured is not None:
                # By its own: uvicorn has one TLS setting for all of its sockets.
                loop = asyncio.get_running_loop()
                self.servers.append(
                    await loop.create_server(self._protocol, sock=secured[0], ssl=secured[1])
                )
            on_ready()

        def _protocol(self) -> asyncio.Protocol:
            return Protocol(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

    settings = uvicorn.Config(
        build_app(config),
        http=Protocol,
        log_level="warning",
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    Server(settings).run(sockets=[listener])


def _ready(said: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 0,
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
        float | None, typer.Option(min=0, help="Sandbox seconds a real second; 0 stands still.")
    ] = None,
    clock_anchor: Annotated[
        float | None, typer.Option(help="Real Unix seconds that several processes share.")
    ] = None,
    train_seconds: Annotated[float, typer.Option(min=0, help="Running time of a job.")] = 20.0,
    queue_seconds: Annotated[float, typer.Option(min=0, help="Queued time of a job.")] = 3.0,
    validate_seconds: Annotated[float, typer.Option(min=0, help="Validation time of a job.")] = 2.0,
    batch_seconds: Annotated[float, typer.Option(min=0, help="Running time of a batch.")] = 5.0,
    shutdown: Annotated[
        list[str] | None, typer.Option(help="MODEL=DAYS from now to its shutdown; repeatable.")
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="JSON file with the fault script.")] = None,
    batch_token_limit: Annotated[
        int, typer.Option(help="Enqueued batch tokens allowed for each model.")
    ] = 2_000_000_000,
    batch_requests: Annotated[
        int, typer.Option(min=1, help="Requests that a batch may hold; Azure's twice as many.")
    ] = 50_000,
    batch_bytes: Annotated[int, typer.Option(min=1, help="Size of a batch's file.")] = 200_000_000,
    batches_per_hour: Annotated[int, typer.Option(min=1, help="Batches in an hour.")] = 2_000,
    learner: Annotated[str, typer.Option(help="Learner by registered name.")] = "default",
    azure_account: Annotated[
        list[str] | None,
        typer.Option(help="NAME=REGION of an Azure resource; repeatable, the first is the root."),
    ] = None,
    azure_quota: Annotated[
        int, typer.Option(min=1, help="Azure capacity for each model, sku and region (k TPM).")
    ] = 500,
    deploy_seconds: Annotated[float, typer.Option(min=0, help="Time a deployment takes.")] = 30.0,
    token_seconds: Annotated[float, typer.Option(min=1, help="Life of an Entra token.")] = 3600.0,
    tls: Annotated[
        bool, typer.Option("--tls", help="Listen with TLS too, by a throw-away authority.")
    ] = False,
    tls_port: Annotated[
        int, typer.Option(min=0, max=65535, help="TLS port; 0 picks a free one.")
    ] = 0,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of a certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
) -> None:
    """Serve the sandbox: a fine-tuning provider on this machine. Its figures are its own."""
    if not api_key.strip():
        raise typer.BadParameter("--api-key is empty; give one, or leave it out for the default")
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
            batch_requests=batch_requests,
            batch_bytes=batch_bytes,
            batches_per_hour=batches_per_hour,
            learner=learner,
            azure=_azure(
                azure_account or (),
                quota=azure_quota,
                deploy_seconds=deploy_seconds,
                token_seconds=token_seconds,
            ),
            tls=Tls(port=tls_port, cert=tls_cert, key=tls_key) if tls or tls_cert else None,
        )
        run(config, on_ready=_ready)
    except NotADirectoryError:
        raise typer.BadParameter(f"--data {data}: there is a file in the way") from None
    except (KeyError, ValueError) as error:
        raise typer.BadParameter(str(error.args[0] if error.args else error)) from None
