"""How a sandbox is set up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy_sandbox.azure.settings import AzureSettings
from understudy_sandbox.tls import Tls

DEFAULT_KEY = "sk-understudy-sandbox"  # public on purpose: it opens a loopback server only
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """How long things take, in sandbox seconds."""

    processing: float = 0.5
    validating: float = 2.0
    queued: float = 3.0
    running: float = 20.0
    pausing: float = 1.0
    batch_validating: float = 1.0
    batch_running: float = 5.0
    batch_finalizing: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one sandbox server.

    Attributes:
        data: folder of its durable state; made where absent.
        api_key: the bearer key that clients must send.
        clock_start: ISO 8601 sandbox time at the anchor; real time by default.
        clock_speed: sandbox seconds a real second.
        clock_anchor: real Unix seconds shared by processes that must agree on the clock.
        shutdown: days from the state's creation to each model's shutdown; negative is retired.
        faults: fault rules to begin with.
        batch_token_limit: enqueued tokens allowed for each model.
        batch_requests: requests that a batch may hold; Azure's face takes twice as many.
        batch_bytes: size of its file.
        batches_per_hour: batches that may be created in 3,600 sandbox seconds.
        learner: name in the learner registry.
        azure: settings of the Azure face.
        tls: how to listen with TLS beside plain HTTP; None does not.
    """

    data: Path
    api_key: str = field(default=DEFAULT_KEY, repr=False)
    host: str = "127.0.0.1"
    port: int = 0
    clock_start: str | None = None
    clock_speed: float | None = None
    clock_anchor: float | None = None
    timings: Timings = field(default_factory=Timings)
    shutdown: dict[str, int] = field(default_factory=dict)
    faults: tuple[dict[str, Any], ...] = ()
    batch_token_limit: int = 2_000_000_000
    batch_requests: int = 50_000
    batch_bytes: int = 200_000_000
    batches_per_hour: int = 2_000
    learner: str = "default"
    azure: AzureSettings = field(default_factory=AzureSettings)
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and self.api_key == DEFAULT_KEY:
            raise ValueError(
                f"the sandbox would listen on {self.host} with its public default key; "
                "give --api-key a secret of your own, or bind to 127.0.0.1"
            )
