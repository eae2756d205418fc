"""Ids: a call is known by its trace and its observation, which for our own follow from its id."""

from __future__ import annotations

from hashlib import sha256

__all__ = ["call_id", "item_id", "place_of", "span_id", "trace_id"]


def trace_id(seed: str) -> str:
    """A trace id (32 hexadecimal digits), the same for the same seed; as Langfuse's SDK does."""
    return sha256(seed.encode("utf-8", "replace")).digest()[:16].hex()


def span_id(seed: str) -> str:
    """An observation id (16 hexadecimal digits), the same for the same seed."""
    return sha256(seed.encode("utf-8", "replace")).digest()[:8].hex()


def item_id(dataset: str, name: str) -> str:
    """A dataset item's id: Langfuse has them unique over all datasets of a project."""
    return f"understudy-{sha256(f'{dataset}/{name}'.encode()).hexdigest()[:32]}"


_PREFIX = "langfuse:"


def call_id(trace: str, observation: str) -> str:
    """The id of a call that came from Langfuse."""
    return f"{_PREFIX}{trace}/{observation}"


def place_of(call: str) -> tuple[str, str]:
    """Trace and observation of a call: one that came from Langfuse, or one of our own."""
    if call.startswith(_PREFIX):
        trace, _, observation = call.removeprefix(_PREFIX).rpartition("/")
        return trace, observation
    return trace_id(call), span_id(call)
