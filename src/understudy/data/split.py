"""Which side of the split a conversation is on: a pure function of seed, shares and its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal, get_args

from understudy.recipe import Split

__all__ = ["SPLITS", "SplitName", "splitter"]

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)


def splitter(split: Split) -> Callable[[str], SplitName]:
    """The function from ``source_id`` to its side.

    A hash of seed and ``source_id`` gives a number in [0, 1): test below ``split.test``, then
    validation, then train. So a conversation is never on two sides, no other row can move it,
    and a larger share of test only adds conversations to the test rows there were.
    """
    # One keyed hash per seed: a prefix could run into the source_id.
    start = hashlib.blake2b(key=str(split.seed).encode()[:64], digest_size=8)
    scale = 1 << 64
    below_test = round(split.test * scale)
    below_validation = round((split.test + split.validation) * scale)

    def side(source_id: str) -> SplitName:
        state = start.copy()
        state.update(source_id.encode())
        number = int.from_bytes(state.digest(), "big")
        if number < below_test:
            return "test"
        return "validation" if number < below_validation else "train"

    return side
