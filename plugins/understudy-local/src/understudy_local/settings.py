"""What the user says of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from understudy.backend import Settings

__all__ = ["LocalSettings"]


class LocalSettings(Settings):
    """``[backends.local]`` of understudy.toml.

    Args:
        home: where jobs, models and prepared students are kept; one queue for all who share it.
        device: where to train; ``auto`` takes a CUDA GPU where there is one.
        threads: CPU threads of a trainer; None leaves it to OMP_NUM_THREADS, or torch.
        hf_token: for gated students on the Hugging Face hub.
        offline: never ask the hub; only what is on this machine.
        gpu_usd_per_hour: what an hour of the device costs you. None: nothing.
        grace_seconds: how long a job that is cancelled or paused may take to save itself.
        max_restarts: how often a worker that died is started again without having got further.
        poll_interval: seconds between two looks of a worker at its trainer and its wishes.
        launcher: where workers are started: as processes here, or by a Ray cluster's Jobs API.
        ray_address: of the cluster's dashboard; None: what Ray's own settings say.
        ray_python: the interpreter on the cluster's nodes.
        context_tokens: longest request, question and answer together, that a model is served with.
        parallel_requests: how many requests a model's server answers at once.
        idle_seconds: a model's server ends when nobody has asked it for so long.
    """

    env: ClassVar[Mapping[str, str]] = {
        "home": "UNDERSTUDY_LOCAL_HOME",
        "hf_token": "HF_TOKEN",
    }

    home: Path = Field(default_factory=lambda: Path.home() / ".understudy" / "local")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    hf_token: SecretStr | None = None
    offline: bool = False
    gpu_usd_per_hour: Decimal | None = Field(default=None, ge=0)
    grace_seconds: float = Field(default=30.0, ge=0, le=600)
    max_restarts: int = Field(default=3, ge=0, le=20)
    poll_interval: float = Field(default=0.25, gt=0, le=10)
    launcher: Literal["process", "ray"] = "process"
    ray_address: str | None = None
    ray_python: str = "python"
    context_tokens: int = Field(default=2048, ge=128)
    parallel_requests: int = Field(default=4, ge=1, le=64)
    idle_seconds: float = Field(default=300.0, gt=0)

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        # A worker runs in another folder than the command that starts it.
        return value.expanduser().absolute()
