"""Sources in, datasets out: read, validate, clean, split, count, write.

``prepare`` does it all; the other names read what it made or are of use by themselves.
"""

from understudy.data.dataset import Dataset, TestRow, list_datasets, load_dataset
from understudy.data.golden import GoldenSet, golden_set, lock_golden
from understudy.data.prepare import prepare
from understudy.data.reasons import CLEANING, Reason
from understudy.data.rows import answer_text
from understudy.data.split import SPLITS, SplitName, splitter
from understudy.data.tokens import count, example_tokens, message_tokens, request_tokens
from understudy.data.write import SplitInfo

__all__ = [
    "CLEANING",
    "SPLITS",
    "Dataset",
    "GoldenSet",
    "Reason",
    "SplitInfo",
    "SplitName",
    "TestRow",
    "answer_text",
    "count",
    "example_tokens",
    "golden_set",
    "list_datasets",
    "load_dataset",
    "lock_golden",
    "message_tokens",
    "prepare",
    "request_tokens",
    "splitter",
]
