"""A call log as a shop's search might have kept it, made from a seed.

The task: a shopper's short query in, a small JSON object out (intent, category, brand, colour,
highest price, city). Brands and cities are names put together from syllables, so most of the
outputs that a test row wants never occur in training: a lookup cannot answer them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

TEACHER = "gpt-4.1-2025-04-14"
SYSTEM = (
    "You read what a shopper typed into the search box of a shop. Answer with one JSON object: "
    "intent (buy, compare, return, track or stock), category, brand, color, max_price, city. "
    "Use null for what the query does not say."
)
_CATEGORIES: dict[str, tuple[str, ...]] = {
    "shoes": ("shoes", "sneakers", "boots", "sandals", "trainers"),
    "coats": ("coat", "jacket", "parka", "raincoat", "windbreaker"),
    "bags": ("bag", "backpack", "handbag", "tote", "rucksack"),
    "phones": ("phone", "smartphone", "mobile"),
    "headphones": ("headphones", "earbuds", "headset"),
    "lamps": ("lamp", "desk light", "floor light"),
    "chairs": ("chair", "stool", "armchair", "office chair"),
    "watches": ("watch", "wristwatch", "smartwatch"),
}
_COLOURS = ("black", "white", "red", "green", "blue", "grey", "yellow", "brown", "pink", "navy")
_ONSETS = (
    "Bar",
    "Cal",
    "Dor",
    "El",
    "Fen",
    "Gal",
    "Hol",
    "Jun",
    "Kor",
    "Lum",
    "Mar",
    "Nor",
    "Or",
    "Pel",
    "Rav",
    "Sol",
    "Tam",
    "Ul",
    "Ver",
    "Zan",
)
_ENDINGS = (
    "a",
    "ano",
    "dale",
    "eo",
    "ford",
    "ia",
    "ik",
    "ix",
    "mark",
    "o",
    "ova",
    "ton",
    "us",
    "wick",
)
_HOUSES = ("", "", "", " & Sons", " House", " Studio", " Works")
_TOWN_ENDINGS = ("bury", "burg", "field", "ham", "haven", "mouth", "port", "stead", "ville")
_PATTERNS: dict[str, tuple[str, ...]] = {
    "buy": (
        "{color} {thing} by {brand} {price}",
        "{brand} {thing} {color} {price}",
        "looking for {thing} from {brand} {price} {city}",
        "need a {color} {thing} {price} {city}",
        "cheap {thing} {brand} {city}",
        "{thing} {price}",
    ),
    "compare": (
        "{brand} {thing} vs others {price}",
        "which {color} {thing} is better, is {brand} any good",
        "compare {thing} by {brand} {price}",
        "best {thing} {price} {city}",
    ),
    "return": (
        "return my {brand} {thing}",
        "how do i send back the {color} {thing} from {brand}",
        "refund for {thing} bought {city}",
    ),
    "track": (
        "where is my {brand} {thing}",
        "track order {color} {thing} {city}",
        "has my {thing} from {brand} been shipped",
    ),
    "stock": (
        "is the {brand} {thing} in {color} available {city}",
        "{thing} by {brand} in stock {city}",
        "do you have {color} {thing} {city}",
    ),
}
_PRICES = ("under ${0}", "below {0} dollars", "max ${0}", "up to {0}", "less than ${0}")
_TYPO = 0.25
_TAILS = ("", "", "", "", "please", "asap", "thx", "for my sister", "?")
_PLACES = ("in {0}", "near {0}", "delivered to {0}", "at the {0} store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How much of the log is not as it should be, as shares of the calls."""

    teacher_error: float = 0.03
    truncated: float = 0.03
    flagged: float = 0.02
    failed: float = 0.02
    incomplete: float = 0.02
    repeated: float = 0.06
    follow_up: float = 0.3


def _word(rng: random.Random, endings: tuple[str, ...]) -> str:
    return rng.choice(_ONSETS) + rng.choice(endings)


def _ask(rng: random.Random) -> tuple[str, dict[str, Any]]:
    intent = rng.choice(tuple(_PATTERNS))
    category = rng.choice(tuple(_CATEGORIES))
    brand = _word(rng, _ENDINGS) + rng.choice(_HOUSES)
    city = _word(rng, _TOWN_ENDINGS)
    color, price = rng.choice(_COLOURS), rng.randrange(15, 900, 5)
    pattern = rng.choice(_PATTERNS[intent])
    asked_city = "{city}" in pattern and rng.random() < 0.6
    asked_price = "{price}" in pattern and rng.random() < 0.7
    query = pattern.format(
        thing=rng.choice(_CATEGORIES[category]),
        brand=brand,
        color=color,
        price=rng.choice(_PRICES).format(price) if asked_price else "",
        city=rng.choice(_PLACES).format(city) if asked_city else "",
    )
    truth = {
        "intent": intent,
        "category": category,
        "brand": brand if "{brand}" in pattern else None,
        "color": color if "{color}" in pattern else None,
        "max_price": price if asked_price else None,
        "city": city if asked_city else None,
    }
    query = _mistyped(rng, query.split(), {*brand.split(), city, color})
    return (query.lower() if rng.random() < 0.5 else query), truth


def _mistyped(rng: random.Random, words: list[str], spared: set[str]) -> str:
    """The words as hurried thumbs type them; names stay right, because they are copied."""
    at = rng.randrange(len(words))
    word = words[at]
    if rng.random() < _TYPO and len(word) > 3 and word.isalpha() and word not in spared:
        i = rng.randrange(1, len(word) - 2)
        words[at] = word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return " ".join([*words, rng.choice(_TAILS)]).strip()


def _slip(rng: random.Random, truth: dict[str, Any]) -> dict[str, Any]:
    """The teacher's mistake: another intent, another category, or a name left out."""
    kind = rng.choice(("intent", "category", "brand"))
    if kind == "brand" and truth["brand"] is not None:
        return {**truth, "brand": None}
    values = tuple(_PATTERNS) if kind == "intent" else tuple(_CATEGORIES)
    field = "intent" if kind == "intent" else "category"
    return {**truth, field: rng.choice([v for v in values if v != truth[field]])}


def _response(content: str, finish: str) -> dict[str, Any]:
    words = max(1, len(content) // 4)
    return {
        "message": {"role": "assistant", "content": content},
        "finish_reason": finish,
        "usage": {"prompt_tokens": 75, "completion_tokens": words, "total_tokens": 75 + words},
    }


def _spoil(rng: random.Random, rates: Rates, call: dict[str, Any], answer: str) -> None:
    """Make a call one of those that must not be trained on, or leave it as it is."""
    shares = {
        "truncated": rates.truncated,
        "flagged": rates.flagged,
        "failed": rates.failed,
        "incomplete": rates.incomplete,
    }
    good = 1 - sum(shares.values())
    (kind,) = rng.choices(["good", *shares], weights=[good, *shares.values()])
    if kind == "truncated":
        call["response"] = _response(answer[: rng.randrange(10, 40)], "length")
    elif kind == "flagged":
        call["response"] = _response(answer.replace("null", '"Everywhere"', 1), "stop")
        call["flags"] = ["hallucination"]
    elif kind == "failed":
        call["response"] = None
        call["error"] = {"status": 503, "type": "server_error", "message": "The server was busy."}
    elif kind == "incomplete":
        call["response"] = _response("", "stop")


def calls(seed: int = 7, count: int = 1600, rates: Rates | None = None) -> Iterator[dict[str, Any]]:
    """Calls in the order of time; the same seed gives the same log.

    Args:
        seed: of everything drawn.
        count: how many calls.
        rates: how much of the log is spoilt, wrong or repeated.
    """
    rates = rates or Rates()
    rng = random.Random(seed)  # noqa: S311 - a repeatable log, no secret
    at = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)
    conversation = 0
    made: list[dict[str, Any]] = []
    for number in range(count):
        at += timedelta(seconds=rng.randrange(5, 240))
        if not number or rng.random() >= rates.follow_up:
            conversation += 1
        shared = {
            "id": f"call-{seed}-{number:06d}",
            "conversation_id": f"conv-{seed}-{conversation:06d}",
            "at": at.isoformat(),
        }
        if made and rng.random() < rates.repeated:
            call = {**rng.choice(made[-200:]), **shared}
        else:
            call = {**shared, **_fresh(rng, rates)}
        made.append(call)
        yield call


def _fresh(rng: random.Random, rates: Rates) -> dict[str, Any]:
    query, truth = _ask(rng)
    said = _slip(rng, truth) if rng.random() < rates.teacher_error else truth
    answer = json.dumps(said)
    call: dict[str, Any] = {
        "model": TEACHER,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": query},
        ],
        "response": _response(answer, "stop"),
        "scores": {"thumbs": 1.0 if said == truth else rng.choice((0.0, 1.0))},
        "reference": json.dumps(truth),
        "metadata": {"surface": rng.choice(("web", "app"))},
    }
    _spoil(rng, rates, call, answer)
    return call


def write_calls(path: Path, seed: int = 7, count: int = 1600) -> int:
    """Write the log as JSONL; how many calls it has."""
    with path.open("w", encoding="utf-8") as stream:
        for call in calls(seed, count):
            stream.write(json.dumps(call) + "\n")
    return count
