"""A generation's record as a hash of Redis, and what reaches Redis' errors have here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import orjson
import redis
from redis.exceptions import AuthenticationError, RedisError

from understudy.cache.base import Generation, GenerationState
from understudy.cache.codec import Codec
from understudy.errors import AuthError, Unavailable

__all__ = ["codec_of", "fields_of", "reaching", "record_of"]


@contextmanager
def reaching(shown: str) -> Iterator[None]:
    """Trouble on the way to Redis, in words.

    Raises:
        AuthError, Unavailable: what it was.
    """
    try:
        yield
    except AuthenticationError:
        raise AuthError(f"the cache at {shown} refused the password; check its URL") from None
    except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError) as error:
        raise Unavailable(
            f"the cache at {shown} cannot be reached ({type(error).__name__}); check that Redis "
            "runs there, and try again"
        ) from None
    except RedisError as error:
        raise Unavailable(
            f"the cache at {shown} did not do what was asked ({type(error).__name__}: {error}); "
            "check its memory limit and version (5 or newer)"
        ) from None


def fields_of(made: Generation, *, ttl: float | None, base: str) -> dict[str, bytes | str | float]:
    """What is stored of a generation that is being written."""
    fields: dict[str, bytes | str | float] = {
        "model": made.model,
        "created_at": made.created_at,
        "base": base,
        "meta": orjson.dumps(dict(made.meta)),
        "state": made.state.value,
    }
    return fields if ttl is None else fields | {"ttl": ttl}


def record_of(
    cache: str, generation: str, fields: Mapping[bytes, bytes], current: bytes | None
) -> Generation | None:
    """The generation that the hash describes; None where there is none."""
    if b"state" not in fields:
        return None
    published, ttl = fields.get(b"published_at"), fields.get(b"ttl")
    at = None if published is None else float(published)
    return Generation(
        cache=cache,
        id=generation,
        model=fields[b"model"].decode(),
        state=GenerationState(fields[b"state"].decode()),
        current=current == generation.encode(),
        created_at=float(fields[b"created_at"]),
        published_at=at,
        order=int(fields[b"order"]) if b"order" in fields else None,
        expires_at=None if at is None or ttl is None else at + float(ttl),
        entries=int(fields.get(b"entries", 0)),
        bytes=int(fields.get(b"bytes", 0)),
        base=fields[b"base"].decode() or None,
        codec="zstd" if b"dictionary" in fields else "plain",
        meta=orjson.loads(fields[b"meta"]),
    )


def codec_of(fields: Mapping[bytes, bytes]) -> Codec:
    """How the generation's values are packed."""
    return Codec(fields.get(b"dictionary", b""))
