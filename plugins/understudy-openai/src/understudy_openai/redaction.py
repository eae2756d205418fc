"""Keeps secrets and row text out of everything that a provider's words are copied into."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["redact"]

LONGEST = 300
_HIDDEN = "[redacted]"

_KEYS = (
    re.compile(r"\b(?:sk|rk|pk|sess|ek)-[\w*.\-]{3,}"),
    re.compile(r"(?i)\b(bearer)\s+[^\s,;\"']+"),
    re.compile(r"(?i)\b((?:api[ _-]?key|token|secret|password)(?: provided)?\s*[:=]\s*)[^\s,;]+"),
    re.compile(r"(?i)\b(sig|signature|sv|se|st|skoid|sktid|key|token)=[^\s&\"']+"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"),
)
_QUERY = re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*")
_USERINFO = re.compile(r"(https?://)[^\s/@]+@")
_JSON = re.compile(r"[\[{]\s*[\"'{\[].*", re.DOTALL)
_QUOTED = (
    re.compile(r'"([^"]*)"'),
    re.compile(r"`([^`]*)`"),
    re.compile(r"(?<!\w)'([^']*)'(?!\w)"),
    re.compile(r"“([^”]*)”"),
)
_OPEN_QUOTE = re.compile(r"(\"|`|“|(?<!\w)').*", re.DOTALL)
_MARK = "\x00"

# What may stay between quotes: names that a provider or this plugin made, never free text.
_NAMES = re.compile(
    r"(?:ft:)?(?:gpt|chatgpt|davinci|babbage|ada|curie|o\d)(?:[-:][\w.:\-]{0,80})?"
    r"|(?:file|ftjob|ft|ftckpt|ftchkpt|ftevent|batch|upload|org|proj|req)[-_][\w.:\-]{0,80}"
    r"|/?v1/[\w/{}\-]{0,60}|\d{1,12}"
)
_WORDS = frozenset(
    {
        "after",
        "assistant",
        "auto",
        "batch",
        "batch_size",
        "beta",
        "cancelled",
        "compute_multiplier",
        "content",
        "created",
        "deleted",
        "developer",
        "dpo",
        "error",
        "eval_interval",
        "eval_samples",
        "evals",
        "failed",
        "fine-tune",
        "function",
        "grader",
        "hyperparameters",
        "input",
        "integrations",
        "jsonl",
        "learning_rate_multiplier",
        "limit",
        "max_tokens",
        "messages",
        "metadata",
        "method",
        "model",
        "n_epochs",
        "non_preferred_output",
        "paused",
        "pausing",
        "pending",
        "preferred_output",
        "processed",
        "purpose",
        "queued",
        "reasoning_effort",
        "reinforcement",
        "resuming",
        "role",
        "running",
        "seed",
        "status",
        "succeeded",
        "suffix",
        "supervised",
        "system",
        "temperature",
        "tool",
        "tool_calls",
        "tools",
        "top_p",
        "training_file",
        "uploaded",
        "user",
        "validating_files",
        "validation_file",
        "wandb",
        "weight",
    }
)


def redact(text: object, secrets: Iterable[str] = (), *, limit: int = LONGEST) -> str:
    """``text`` without keys, URL queries, JSON and quoted free text; at most ``limit`` characters.

    Providers echo the key in refusals and rows in complaints about rows. Only quoted names of a
    known form survive (a model, a file, a field).

    Args:
        text: what the provider wrote; anything but a string is taken as empty.
        secrets: strings that must not appear, such as the configured key.
        limit: longest result, in characters.
    """
    if not isinstance(text, str):
        return ""
    text = text.replace(_MARK, "")
    for secret in secrets:
        if secret:
            text = text.replace(secret, _HIDDEN)
    text = _QUERY.sub(r"\1", _USERINFO.sub(r"\1", text))
    for pattern in _KEYS:
        text = pattern.sub(_keep_label, text)
    text = _JSON.sub("{...}", text)
    kept: list[str] = []
    for pattern in _QUOTED:
        text = pattern.sub(lambda match: _quoted(match, kept), text)
    # What is still quoted was cut off: everything after the opening quote may be row text.
    text = _OPEN_QUOTE.sub("...", text)
    for number, word in enumerate(kept):
        text = text.replace(f"{_MARK}{number}{_MARK}", word)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _keep_label(match: re.Match[str]) -> str:
    label = match.group(1) if match.re.groups else ""
    if not label:
        return _HIDDEN
    return f"{label}{_HIDDEN}" if label[-1] in ":= " else f"{label}={_HIDDEN}"


def _quoted(match: re.Match[str], kept: list[str]) -> str:
    inner = match.group(1).strip()
    safe = inner in _WORDS or _NAMES.fullmatch(inner) is not None or inner == _HIDDEN
    kept.append(f"'{inner if safe else '...'}'")
    return f"{_MARK}{len(kept) - 1}{_MARK}"
