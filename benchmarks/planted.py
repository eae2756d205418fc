"""Conversations of a support desk with planted near-duplicates and planted defects.

Every row is made from a seed. ``generate`` writes a call log, a golden set, and beside them what
was planted on which line, so that recall and precision are measured against the truth.

Near-duplicates (20 % of the rows, each of one original): A layout and case only, B 2-5 % of the
words, C one turn rewritten, D 10-15 % of the words (borderline). Hard negatives share about half
of their turns with another row. Plain rows hold order numbers, dates, prices, lists and names,
which look like defects and are none.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from validation_speed import vocabulary

Call = dict[str, Any]

DUPLICATES = {"A": 0.07, "B": 0.05, "C": 0.05, "D": 0.03}
HARD_NEGATIVES = 0.04
DEFECT = 0.005
"""Share of the rows that each kind of defect has."""

_GERMAN = (
    "Guten Tag und vielen Dank für Ihre Nachricht. Leider ist das Paket noch nicht bei uns "
    "angekommen. Wir haben die Bestellung geprüft und den Versand gestern veranlasst. Bitte haben "
    "Sie noch ein wenig Geduld, die Lieferung dauert meistens zwei Tage."
)
_FRENCH = (
    "Bonjour et merci pour votre message. Votre commande a été expédiée hier et devrait arriver "
    "dans les deux prochains jours. Nous sommes désolés pour ce retard et nous restons à votre "
    "disposition pour toute autre question."
)
_SPANISH = (
    "Hola y gracias por su mensaje. El paquete fue enviado ayer y debería llegar en los próximos "
    "dos días. Lamentamos mucho la demora y quedamos a su disposición para cualquier otra "
    "pregunta que tenga."
)
_REFUSALS = (
    "I'm sorry, but I can't help with that request.",
    "I cannot assist with this.",
    "As an AI language model, I am unable to process refunds for you.",
    "Sorry, I can't share that information.",
)
_FAILURES = (
    "Internal Server Error",
    "502 Bad Gateway",
    "Traceback (most recent call last): File app.py, line 12",
    '{"error": {"message": "rate limit exceeded", "code": 429}}',
    "An error occurred while processing your request.",
)
_TESTS = ("test", "Testing 123", "ping", "asdf asdf", "this is a test message, please ignore")


class Desk:
    """Writes conversations.

    Args:
        seed: of everything.
        words: of a conversation, about.
    """

    def __init__(self, seed: int, words: int = 300) -> None:
        self.dice = random.Random(seed)
        self.words = [w for w in vocabulary(self.dice, made_up=False) if w.isalpha()]
        self._turns = max(2, words // 34 // 2 * 2)
        self.systems = [self.text(4) for _ in range(5)]

    def sentence(self) -> str:
        """Six to fourteen words."""
        return " ".join(self.dice.choices(self.words, k=self.dice.randint(6, 14))).capitalize()

    def text(self, sentences: int) -> str:
        """Sentences with full stops."""
        return " ".join(f"{self.sentence()}." for _ in range(sentences))

    def said(self) -> str:
        """A turn; now and then with what looks like a defect and is none."""
        text = self.text(self.dice.randint(2, 4))
        kind = self.dice.random()
        if kind < 0.05:
            return f"{text} My order is {self.dice.randint(10**9, 10**10 - 1)}."
        if kind < 0.08:
            return f"{text} It was on 2026-0{self.dice.randint(1, 9)}-14 at 10:30, for $1,299.00."
        if kind < 0.10:
            return f"I'm sorry to hear that. {text}"
        return text

    def answer(self) -> str:
        """The last turn: prose, or a list without a full stop, or one with a name below it."""
        kind = self.dice.random()
        if kind < 0.05:
            return f"{self.text(2)}\n- {self.sentence()}\n- {self.sentence()}"
        if kind < 0.10:
            return f"{self.text(3)}\n\nKind regards,\nAnna from support"
        return self.text(self.dice.randint(3, 5))

    def call(self, number: int) -> Call:
        """One plain call."""
        turns = [
            {"role": ("user", "assistant")[at % 2], "content": self.said()}
            for at in range(self._turns - 1)
        ]
        return {
            "id": f"call-{number}",
            "conversation_id": f"talk-{number}",
            "model": "gpt-4.1",
            "messages": [{"role": "system", "content": self.dice.choice(self.systems)}, *turns],
            "response": {
                "message": {"role": "assistant", "content": self.answer()},
                "finish_reason": "stop",
            },
            "scores": {
                "helpful": round(self.dice.uniform(0.6, 1), 2),
                "hallucination": round(self.dice.uniform(0, 0.4), 2),
            },
            "metadata": {"environment": "production"},
        }


def changed(desk: Desk, call: Call, number: int, change: Callable[[str], str]) -> Call:
    """A copy of ``call`` under another name, all its texts put through ``change``."""
    copy: Call = orjson.loads(orjson.dumps(call))
    for message in copy["messages"][1:]:
        message["content"] = change(message["content"])
    copy["response"]["message"]["content"] = change(copy["response"]["message"]["content"])
    copy["messages"][0]["content"] = desk.dice.choice(desk.systems)
    return copy | {"id": f"call-{number}", "conversation_id": f"talk-{number}"}


def near(desk: Desk, call: Call, number: int, kind: str) -> Call:
    """A near-duplicate of ``call``."""
    dice = desk.dice
    if kind == "A":
        style = dice.choice((str.upper, str.lower, lambda text: re.sub(" ", "  ", text)))
        return changed(desk, call, number, lambda text: style(text).replace(".", " . "))
    if kind == "C":
        copy = changed(desk, call, number, lambda text: text)
        copy["messages"][dice.randrange(1, len(copy["messages"]))]["content"] = desk.said()
        return copy
    share = dice.uniform(0.02, 0.05) if kind == "B" else dice.uniform(0.10, 0.15)

    def swap(text: str) -> str:
        # Words alone: what stands around them is layout.
        return re.sub(
            r"[A-Za-z]+",
            lambda word: dice.choice(desk.words) if dice.random() < share else word[0],
            text,
        )

    return changed(desk, call, number, swap)


def hard_negative(desk: Desk, call: Call, number: int) -> Call:
    """A row that shares half of its turns with ``call``."""
    copy = changed(desk, call, number, lambda text: text)
    for message in copy["messages"][1::2]:
        message["content"] = desk.said()
    copy["response"]["message"]["content"] = desk.answer()
    return copy


def _personal(text: Callable[[random.Random], str]) -> Callable[[Desk, Call], None]:
    def spoil(desk: Desk, call: Call) -> None:
        turn = desk.dice.choice(call["messages"][1:])
        turn["content"] = f"{turn['content']} {text(desk.dice)} {desk.sentence()}."

    return spoil


def _answer(*texts: str) -> Callable[[Desk, Call], None]:
    def spoil(desk: Desk, call: Call) -> None:
        call["response"]["message"]["content"] = desk.dice.choice(texts)

    return spoil


def _cut_sentence(desk: Desk, call: Call) -> None:
    half = desk.sentence().split()[: desk.dice.randint(5, 6)]
    call["response"]["message"]["content"] = f"{desk.text(4)} {' '.join(half)}"


def _language(desk: Desk, call: Call) -> None:
    text = desk.dice.choice((_GERMAN, _FRENCH, _SPANISH))
    call["response"]["message"]["content"] = f"{text} ({desk.dice.randint(1, 10**6)})"


def _luhn(dice: random.Random) -> str:
    digits = [4, *(dice.randint(0, 9) for _ in range(14))]
    total = sum(d if at % 2 else sum(divmod(2 * d, 10)) for at, d in enumerate(digits))
    whole = "".join(map(str, [*digits, -total % 10]))
    return " ".join(whole[at : at + 4] for at in range(0, 16, 4))


def _letters(dice: random.Random, count: int) -> str:
    return "".join(
        dice.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789", k=count)
    )


DEFECTS: dict[str, tuple[set[str], Callable[[Desk, Call], Any]]] = {
    "incomplete turn": ({"incomplete_turns"}, lambda _, call: call["messages"].pop(2)),
    "no answer": ({"incomplete"}, lambda _, call: call.update(response=None)),
    "failed call": ({"error"}, lambda _, call: call.update(error={"code": 500}, response=None)),
    "finish_reason length": (
        {"truncated"},
        lambda _, call: call["response"].update(finish_reason="length"),
    ),
    "cut sentence": ({"truncated"}, _cut_sentence),
    "cut JSON": (
        {"truncated"},
        _answer('{"category": "refund", "reason": "the parcel', '{"a": [1'),
    ),
    "refusal": ({"refusal"}, _answer(*_REFUSALS)),
    "error message": ({"failed"}, _answer(*_FAILURES)),
    "hallucination": (
        {"hallucination"},
        lambda _, call: call["scores"].update(hallucination=0.9),
    ),
    "low score": ({"low_score"}, lambda _, call: call["scores"].update(helpful=0.1)),
    "too long": (
        {"too_long"},
        lambda desk, call: call["messages"][1].update(content=desk.text(150)),
    ),
    "too short": ({"too_short"}, _answer("Yes.", "No, sorry.")),
    "language": ({"language"}, _language),
    "e-mail": (
        {"personal_data"},
        _personal(
            lambda dice: f"Write to {_letters(dice, 6).lower()}@example{dice.randint(1, 99)}.com"
        ),
    ),
    "phone": (
        {"personal_data"},
        _personal(lambda dice: f"Call (415) {dice.randint(200, 999)}-{dice.randint(1000, 9999)}"),
    ),
    "card": ({"personal_data"}, _personal(lambda dice: f"The card is {_luhn(dice)}")),
    "key": (
        {"personal_data"},
        _personal(
            lambda dice: dice.choice(
                (
                    f"sk-proj-{_letters(dice, 40)}",
                    f"AKIA{_letters(dice, 16).upper()}",
                    f"ghp_{_letters(dice, 36)}",
                )
            )
        ),
    ),
    "test by metadata": (
        {"test_traffic"},
        lambda _, call: call["metadata"].update(environment="staging"),
    ),
    "test by text": (
        {"test_traffic"},
        lambda desk, call: call["messages"][1].update(content=desk.dice.choice(_TESTS)),
    ),
}
"""Kind of defect: the reasons that are right for it, and what makes it."""

CLEANING: dict[str, Any] = {
    "drop": ["error", "incomplete", "duplicate"],
    "filters": [
        {"use": "truncated"},
        {"use": "refusal"},
        {"use": "failed"},
        {"use": "incomplete_turns"},
        {"use": "test_traffic"},
        {"use": "length", "most_tokens": 1200, "least_answer_tokens": 6},
        {"use": "score", "name": "helpful", "least": 0.5},
        {"use": "hallucination"},
        {"use": "language", "allow": ["en"], "look_at": "answer"},
        {"use": "personal_data"},
    ],
    "near_duplicates": {},
}
"""All filters that the planted defects are for."""


def generate(path: Path, rows: int, seed: int, words: int = 300) -> dict[str, Any]:
    """Write ``path`` and ``path.golden.jsonl``.

    Returns:
        ``kinds``: what is on each line, from line 1 on; ``family``: line of a copy to the line of
        its original.
    """
    desk = Desk(seed, words)
    dice = desk.dice
    kinds, family = [], {}
    pool: list[tuple[int, Call]] = []
    shares = [*DUPLICATES.values(), HARD_NEGATIVES, *([DEFECT] * (len(DEFECTS) + 1))]
    names = [*DUPLICATES, "hard negative", *DEFECTS, "held out"]
    plan = dice.choices([*names, "plain"], [*shares, 1 - sum(shares)], k=rows)
    golden = [desk.call(-number) for number in range(1, 51)]
    with path.open("wb") as file:
        for number, kind in enumerate(plan, start=1):
            if kind in {*DUPLICATES, "hard negative"} and not pool:
                kind = "plain"  # noqa: PLW2901 - nothing to copy yet
            if kind in DUPLICATES:
                original, call = pool.pop(dice.randrange(len(pool)))
                family[number] = original
                made = near(desk, call, number, kind)
            elif kind == "hard negative":
                made = hard_negative(desk, dice.choice(pool)[1], number)
            elif kind == "held out":
                made = near(desk, dice.choice(golden), number, dice.choice("AB"))
            else:
                made = desk.call(number)
            if kind in DEFECTS:
                DEFECTS[kind][1](desk, made)
            elif kind == "plain" and len(pool) < 5_000:
                pool.append((number, made))
            kinds.append(kind)
            file.write(orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE))
    with path.with_name(f"{path.name}.golden.jsonl").open("wb") as file:
        for call in golden:
            row = {"messages": [*call["messages"], call["response"]["message"]]}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return {"kinds": kinds, "family": family}


def judge(
    truth: dict[str, Any], dropped: dict[int, str], tested: set[int]
) -> list[tuple[str, int, float, float]]:
    """(kind, rows planted, recall, precision) for each kind.

    Args:
        truth: of ``generate``.
        dropped: reason by line of the rows that were left out.
        tested: lines of the test split, where rows of the golden set may stay.

    A near-duplicate is found where one of the two rows left. Precision is per reason: the share
    of the rows that left for it which were planted for it; borderline copies (D) count as right.
    """
    lines: dict[str, list[int]] = {}
    for line, kind in enumerate(truth["kinds"], start=1):
        lines.setdefault(kind, []).append(line)
    table = []
    twins = {"near_duplicate", "duplicate"}
    family = truth["family"]
    related = {*family, *family.values(), *lines.get("held out", ())}
    wrong = sum(reason in twins and line not in related for line, reason in dropped.items())
    both = sum(dropped.get(a) in twins and dropped.get(b) in twins for a, b in family.items())
    removed = sum(reason in twins for reason in dropped.values())
    right = 1 - (wrong + both) / removed if removed else 1.0
    for kind in DUPLICATES:
        copies = lines.get(kind, [])
        found = sum(dropped.get(n) in twins or dropped.get(family[n]) in twins for n in copies)
        table.append((f"near-duplicate {kind}", len(copies), found / (len(copies) or 1), right))
    checked = {kind: reasons for kind, (reasons, _) in DEFECTS.items()}
    checked["held out"] = {"held_out", *twins}
    for kind, reasons in checked.items():
        planted = lines.get(kind, [])
        if kind == "held out":
            planted = [line for line in planted if line not in tested]
        found = sum(dropped.get(line) in reasons for line in planted)
        meant = {
            line
            for other, (right_ones, _) in DEFECTS.items()
            if right_ones & reasons
            for line in lines.get(other, [])
        } | set(planted)
        reason = next(iter(reasons - twins))
        gone = [line for line, why in dropped.items() if why == reason]
        exact = sum(line in meant for line in gone) / len(gone) if gone else 1.0
        table.append((kind, len(planted), found / (len(planted) or 1), exact))
    return table
