"""Made-up traffic of a search box: labelled calls to train on, yesterday's log, today's queries.

    python traffic.py [QUERIES] [SEED]

Popularity follows Zipf's law, as search traffic does: few queries are asked again and again, and
some of today's were never asked before.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

INTENTS = {
    "food": ("{0} restaurant", "{0} brunch", "best {0} food", "{0} delivery", "cheap {0} dinner"),
    "repair": ("fix my {0}", "{0} repair", "broken {0} help", "{0} service near me"),
    "shopping": ("buy {0}", "{0} shop", "{0} store open late", "used {0} for sale"),
    "opening hours": ("when does the {0} open", "{0} hours", "is the {0} open today"),
}
THINGS = {
    "food": ("thai", "vegan", "italian", "ramen", "taco", "sushi", "burger", "indian", "greek"),
    "repair": ("bike", "phone", "laptop", "dishwasher", "roof", "car", "watch", "boiler"),
    "shopping": ("bike", "lamp", "sofa", "guitar", "plant", "camera", "tent", "bookshelf"),
    "opening hours": ("library", "zoo", "post office", "pool", "museum", "pharmacy", "bank"),
}
PLACES = ("", " near me", " downtown", " in oakland", " in austin", " in soho", " by the station")
SYSTEM = "Read a search query. Answer with its intent as JSON."


def catalogue(chance: random.Random) -> list[tuple[str, str]]:
    """Every query with its intent, the most popular first."""
    found = [
        (form.format(thing) + place, intent)
        for intent, forms in INTENTS.items()
        for form in forms
        for thing in THINGS[intent]
        for place in PLACES
    ]
    chance.shuffle(found)
    return found


def asked(chance: random.Random, queries: list[tuple[str, str]], count: int) -> Iterator[str]:
    """``count`` queries by Zipf's law with exponent 1."""
    weights = list(accumulate(1 / rank for rank in range(1, len(queries) + 1)))
    for query, _ in chance.choices(queries, cum_weights=weights, k=count):
        yield query


def write(path: str, rows: Iterator[dict[str, object]]) -> None:
    """JSON lines."""
    with Path(path).open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def main() -> None:
    """Write calls.jsonl, log.jsonl and today.jsonl into this folder."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 7)
    queries = catalogue(chance)
    write("calls.jsonl", (labelled(*one) for one in chance.sample(queries, 300)))
    write("log.jsonl", ({"query": query} for query in asked(chance, queries, count)))
    write("today.jsonl", ({"query": query} for query in asked(chance, queries, count // 4)))


def labelled(query: str, intent: str) -> dict[str, object]:
    """A training row: what the teacher answered."""
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": query},
        {"role": "assistant", "content": json.dumps({"intent": intent})},
    ]
    return {"messages": messages}


if __name__ == "__main__":
    main()
