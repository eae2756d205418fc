"""Near-duplicates, held against the Jaccard similarity that MinHash estimates."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

from understudy.data.near import clusters, matches, normalised, signatures
from understudy.recipe import NearDuplicates

NEAR = NearDuplicates()
WORDS = [f"word{number}" for number in range(400)]


def jaccard(one: str, other: str) -> float:
    first, second = (
        {tuple(words[at : at + 3]) for at in range(len(words) - 2)}
        for words in (one.split(), other.split())
    )
    return len(first & second) / len(first | second)


def varied(dice: random.Random, text: str, share: float) -> str:
    return " ".join(dice.choice(WORDS) if dice.random() < share else word for word in text.split())


def test_clusters_are_those_of_the_true_similarity() -> None:
    dice = random.Random(5)
    texts: list[str] = []
    for _ in range(25):
        base = " ".join(dice.choices(WORDS, k=120))
        # 2 % and 4 % of the words leave .84 and more in common, 40 % about a tenth.
        texts += [base, varied(dice, base, 0.02), varied(dice, base, 0.04), varied(dice, base, 0.4)]
    found = clusters(signatures(texts, NEAR), NEAR)
    for one, other in combinations(range(len(texts)), 2):
        alike = jaccard(texts[one], texts[other])
        if alike > 0.75:
            assert found[one] == found[other], (one, other, alike)
        elif alike < 0.45:
            assert found[one] != found[other], (one, other, alike)


def test_a_large_crowd_of_copies_is_one_cluster() -> None:
    dice = random.Random(6)
    base = " ".join(dice.choices(WORDS, k=150))
    texts = [varied(dice, base, 0.02) for _ in range(300)] + [
        " ".join(dice.choices(WORDS, k=150)) for _ in range(300)
    ]
    found = clusters(signatures(texts, NEAR), NEAR)
    assert len(set(found[:300].tolist())) == 1
    assert len(set(found.tolist())) == 301


def test_bands_alone_would_join_what_the_threshold_parts() -> None:
    dice = random.Random(7)
    base = " ".join(dice.choices(WORDS, k=200))
    half = [varied(dice, base, 0.22) for _ in range(40)]
    strict = NearDuplicates(threshold=0.6)
    loose = NearDuplicates(threshold=0.3)
    texts = [base, *half]
    alike = [jaccard(base, text) for text in half]
    assert max(alike) < 0.5
    assert len(set(clusters(signatures(texts, strict), strict).tolist())) == 41
    assert len(set(clusters(signatures(texts, loose), loose).tolist())) < 41


def test_rows_that_say_nothing_are_alone() -> None:
    assert len(set(clusters(signatures(["", "", "a b c d"], NEAR), NEAR).tolist())) == 3
    assert signatures([], NEAR).shape == (0, 128)


def test_matches_are_those_of_the_known() -> None:
    dice = random.Random(8)
    known = [" ".join(dice.choices(WORDS, k=120)) for _ in range(5)]
    texts = [varied(dice, known[2], 0.03), " ".join(dice.choices(WORDS, k=120)), known[0]]
    hit = matches(signatures(texts, NEAR), signatures(known, NEAR), NEAR)
    assert hit.tolist() == [True, False, True]
    assert not matches(np.empty((0, 128), "<u4"), signatures(known, NEAR), NEAR).size


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello,   World!", "hello world"),
        ("line\none\r\n\ttwo", "Line one two"),
        ("caf\u00e9 \uff28\uff29", "caf\u00e9 hi"),
        ("**bold** _it_ `code`", "bold it code"),
    ],
)
def test_layout_case_and_marks_are_no_difference(one: str, other: str) -> None:
    assert normalised([{"role": "user", "content": one}]) == normalised(
        [{"role": "user", "content": other}]
    )


def test_system_prompts_are_left_out_and_tool_calls_are_not() -> None:
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "f", "arguments": '{"city":"Rome"}'},
    }
    said = normalised(
        [
            {"role": "system", "content": "You are kind"},
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {"role": "assistant", "tool_calls": [call]},
        ]
    )
    assert said == "weather city rome"
