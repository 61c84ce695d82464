"""Runs of words, as BLEU and CIDEr count them, and the captions of a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from hocket._errors import DataError
from hocket.eval.metrics import Record
from hocket.eval.metrics._ptb import caption_words

Grams: TypeAlias = Counter[tuple[str, ...]]

LONGEST = 4


def grams(words: Sequence[str]) -> Grams:
    """Return how often each run of one to four words occurs."""
    return Counter(
        tuple(words[start : start + size])
        for size in range(1, LONGEST + 1)
        for start in range(len(words) - size + 1)
    )


def captions(record: Record) -> tuple[list[str], list[list[str]]]:
    """Return the words of an answer and of each right caption, the key.

    Raises:
        DataError: the key is no list of captions.
    """
    if not isinstance(record.key, list) or not record.key:
        raise DataError(f"{record.id}: captions need a list of right ones, not {record.key}.")
    return caption_words(record.answer), [caption_words(str(one)) for one in record.key]
