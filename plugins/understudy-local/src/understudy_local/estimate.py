"""What training will take, before it starts: tokens, memory, minutes, disk.

Memory is a sum of parts, all in bytes::

    runtime      what Python, torch and the libraries hold before any weight is there
    weights      the student: 4 a weight in float32 (CPU) and 2 more where it computes in bfloat16
                 (casts are kept for the way back), 2 in bfloat16 (GPU), about .6 or 1.1 in 4 or 8
                 bits, where the token tables stay in bfloat16
    mapped       on a CPU, the pages of the weights' file (4 a weight): they count as ours in every
                 peak, but the system takes them back when it needs them, so nothing is refused
                 for them
    adapter      16 a LoRA weight: itself, its gradient, and AdamW's two moments, in float32
    activations  what a step keeps for the way back, a token of the batch:
                   every layer:  KEPT * (8 * hidden + 3 * intermediate), 2 or 4 bytes each;
                   with gradient checkpointing one such layer and each layer's input
    logits       CHUNK tokens of the vocabulary at a time (TRL's fused head); in ``bond`` whole,
                 for the batch of both answers, three times (now, at the start, the divergence)

The constants were fitted to the peaks of a few runs of SmolLM2-135M on a CPU;
benchmarks/local_memory.py prints peaks beside estimates, and a test holds one of them. No GPU was
at hand: there the formula is the same sum with the GPU's bytes a weight, and its figures have not
been held against a measured peak.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from understudy.errors import NotFound
from understudy.model import PAIRED_METHODS, Estimate, JobSpec, Problem
from understudy_local.devices import Memory, kind_of, memory_of
from understudy_local.params import LocalParams, check_hyperparameters
from understudy_local.settings import LocalSettings
from understudy_local.students import Shape, Source, locate, shape_of, students

__all__ = ["Need", "disk", "estimate", "memory", "seconds", "shortage"]

GIB = 1 << 30
_RUNTIME = {"cpu": 1.15 * GIB, "cuda": 1.2 * GIB}
_WEIGHT = {"none": {"cpu": 4.0, "cuda": 2.0}, "8bit": {"cuda": 1.1}, "4bit": {"cuda": 0.6}}
_ADAPTER = 16
_KEPT = 1.6
_CHUNK = 1024
_MARGIN = 1.1
# Minutes are guessed from operations alone; a busy machine takes several times as long.
_GUESS = 5
# Floating-point operations a second that training reaches, by what was seen on two machines.
_SPEED = {"cpu": 50e9, "cuda": 40e12}


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Bytes by part; ``total`` is the peak to expect, ``least`` what cannot be done without."""

    runtime: float
    weights: float
    mapped: float
    adapter: float
    activations: float
    logits: float

    @property
    def total(self) -> int:
        """The sum with a margin of a tenth on what training itself takes."""
        return int(self.least + self.mapped)

    @property
    def least(self) -> int:
        """The sum without what the system takes back under pressure."""
        changing = self.adapter + self.activations + self.logits
        return int(self.runtime + self.weights + changing * _MARGIN)


def _adapter_weights(shape: Shape, rank: int) -> float:
    # All linear layers of a block: four of attention, three of the MLP, each in + out wide.
    return float(rank * shape.layers * (8 * shape.hidden + 3 * (shape.hidden + shape.intermediate)))


def memory(shape: Shape, params: LocalParams, *, method: str, longest: int, kind: str) -> Need:
    """Memory of one training process, for rows of at most ``longest`` tokens."""
    rows = params.batch_size * (2 if method in PAIRED_METHODS else 1)
    row = params.max_length if params.packing else min(longest, params.max_length)
    tokens = rows * row
    size = 2 if kind == "cuda" or params.precision != "float32" else 4
    layer = _KEPT * (8 * shape.hidden + 3 * shape.intermediate) * size * tokens
    kept = layer * shape.layers
    if params.gradient_checkpointing:
        kept = layer + shape.layers * shape.hidden * size * tokens
    logits = 8.0 * min(tokens, _CHUNK) * shape.vocab
    if method == "bond" and params.bond_gamma:
        logits = 3 * 4.0 * tokens * shape.vocab
    return Need(
        runtime=_RUNTIME[kind],
        weights=_weights(shape, params, kind),
        mapped=4.0 * shape.params if kind == "cpu" else 0.0,
        adapter=_ADAPTER * _adapter_weights(shape, params.lora_rank),
        activations=kept,
        logits=logits,
    )


def _weights(shape: Shape, params: LocalParams, kind: str) -> float:
    each = _WEIGHT[params.quantize].get(kind, 4.0)
    if kind == "cpu" and params.precision != "float32":
        each += 2.0
    if params.quantize == "none":
        return shape.params * each
    tables = min(2.0 * shape.vocab * shape.hidden, shape.params)
    return tables * 2 + (shape.params - tables) * each


def seconds(shape: Shape, *, tokens: int, method: str, kind: str) -> float:
    """How long training takes: four operations a weight and token, and two for each look back."""
    passes = 4 + (2 if method in PAIRED_METHODS else 0) + (8 if method == "bond" else 0)
    return passes * shape.params * tokens / _SPEED[kind]


def disk(shape: Shape, params: LocalParams, source: Source) -> int:
    """Bytes that training writes: checkpoints with AdamW's moments, and a student made ready."""
    adapter = _adapter_weights(shape, params.lora_rank) * 4
    base = 0.0 if source.kind == "folder" else shape.params * (4 if source.kind == "gguf" else 2)
    return int(adapter * 3 * (params.keep_checkpoints + 1) + adapter + base)


def _epochs(spec: JobSpec, params: LocalParams) -> float:
    steps = params.steps(spec.training.rows)
    rows = steps * params.batch_size * params.gradient_accumulation * params.gpus
    return rows / max(spec.training.rows, 1)


def estimate(spec: JobSpec, settings: LocalSettings) -> Estimate:
    """Tokens as the core counts them; the student's own tokenizer counts a little differently."""
    params, _ = check_hyperparameters(spec)
    epochs = (
        min(_epochs(spec, params), params.n_epochs)
        if params.max_steps is None
        else _epochs(spec, params)
    )
    tokens = max(1, round(spec.training.tokens * epochs))
    usd = _usd(spec, params, settings, tokens)
    return Estimate(
        tokens=tokens,
        # Template and tokenizer differ from the count that all backends share.
        at_most=tokens * 2,
        epochs=max(1, round(epochs)),
        notes=tuple(_notes(spec, params, settings, tokens)),
        usd=usd,
        usd_at_most=None if usd is None else usd * _GUESS,
    )


def _usd(
    spec: JobSpec, params: LocalParams, settings: LocalSettings, tokens: int
) -> Decimal | None:
    """What the device costs for the time that training may take; None where it costs nothing."""
    if settings.gpu_usd_per_hour is None:
        return None
    try:
        shape = shape_of(locate(spec.base_model))
    except NotFound:
        shape = None
    # A model that is not here yet has no size: then what it took is booked at the end alone.
    kind = kind_of(settings.device)
    took = seconds(shape, tokens=tokens, method=spec.method, kind=kind) if shape else 0.0
    hours = Decimal(str(round(took / 3600, 6)))
    return (settings.gpu_usd_per_hour * hours * params.gpus).quantize(Decimal("0.000001"))


def _notes(
    spec: JobSpec, params: LocalParams, settings: LocalSettings, tokens: int
) -> Iterator[str]:
    kind = kind_of(settings.device)
    try:
        source = locate(spec.base_model)
    except NotFound:
        return
    shape = shape_of(source)
    if shape is None:
        yield f"the size of {spec.base_model} is known once it is on this machine"
        return
    need = memory(shape, params, method=spec.method, longest=spec.training.longest, kind=kind)
    took = seconds(shape, tokens=tokens, method=spec.method, kind=kind)
    yield (
        f"on {kind}: about {need.total / GIB:.1f} GiB of memory, {max(1, round(took / 60))} minutes"
        f" and {disk(shape, params, source) / GIB:.1f} GiB of disk; minutes are a rough guess"
    )
    if settings.gpu_usd_per_hour is not None:
        yield (
            f"${settings.gpu_usd_per_hour} an hour of the device, as set; what it takes is booked, "
            f"and {_GUESS} times the guess is reserved"
        )


def shortage(
    spec: JobSpec, params: LocalParams, source: Source, settings: LocalSettings
) -> Iterator[Problem]:
    """What there is too little of, and the nearest thing that works."""
    shape = shape_of(source)
    if shape is None:
        return
    if params.max_length > shape.context:
        yield Problem(
            field="hyperparameters.max_length",
            message=f"{params.max_length} tokens are more than the student's {shape.context}",
            fix=f"set max_length to {shape.context} or less",
        )
    kind = kind_of(settings.device)
    have = memory_of(kind)
    if have is not None:
        yield from _memory_shortage(spec, params, shape, kind, have)
    room = _room(settings.home)
    wanted = disk(shape, params, source)
    if room < wanted:
        yield Problem(
            field="base_model",
            message=f"{wanted / GIB:.1f} GiB of disk are needed and {room / GIB:.1f} are free at "
            f"{settings.home}",
            fix="free some space, lower keep_checkpoints, or set home to a larger disk",
        )


def _memory_shortage(
    spec: JobSpec, params: LocalParams, shape: Shape, kind: str, have: Memory
) -> Iterator[Problem]:
    longest = spec.training.longest
    need = memory(shape, params, method=spec.method, longest=longest, kind=kind)
    if need.least <= have.total:
        return
    yield Problem(
        field="base_model",
        message=f"{spec.base_model} would need {need.least / GIB:.1f} GiB, and {have.name} has "
        f"{have.total / GIB:.1f}",
        fix=_nearest(spec, params, shape, kind, have),
    )


def _nearest(spec: JobSpec, params: LocalParams, shape: Shape, kind: str, have: Memory) -> str:
    """The smallest change that fits, and failing that the largest student that does."""
    changes: list[tuple[str, dict[str, object]]] = [
        ("gradient_checkpointing = true", {"gradient_checkpointing": True}),
        ("batch_size = 1 with gradient_accumulation", {"batch_size": 1}),
    ]
    if kind == "cuda":
        changes.append(('quantize = "4bit"', {"quantize": "4bit"}))
    words: list[str] = []
    trial = params
    for word, change in changes:
        if all(getattr(trial, name) == value for name, value in change.items()):
            continue
        trial = trial.model_copy(update=change)
        words.append(word)
        if _fits(spec, trial, shape, kind, have):
            return f"set {' and '.join(words)}"
    fitting = [one for one in students().values() if _fits(spec, trial, one.shape, kind, have)]
    if not fitting:
        return "take a machine with more memory: no student of the table fits this one"
    largest = max(fitting, key=lambda one: one.shape.params)
    also = f", with {' and '.join(words)}" if words else ""
    return f"take {largest.name}{also}; it is the largest of the table that fits"


def _fits(spec: JobSpec, params: LocalParams, shape: Shape, kind: str, have: Memory) -> bool:
    longest = spec.training.longest
    need = memory(shape, params, method=spec.method, longest=longest, kind=kind)
    return need.least <= have.total


def _room(place: Path) -> int:
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free
