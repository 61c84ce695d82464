"""BLEU: shared runs of words of a whole set of captions, with a penalty for short ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from hocket.eval.metrics import Metric, Record, Stat, metrics
from hocket.eval.metrics._ngrams import LONGEST, captions, grams

# As pycocoevalcap: they keep logarithms finite and are visible in the last digits.
_TINY, _SMALL = 1e-15, 1e-9


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Bleu(Metric):
    """BLEU-1 to 4 (Papineni et al. 2002) of the whole set; the headline is BLEU-4.

    Attributes:
        length: which reference length short answers are measured by: the ``closest``, the
            ``shortest`` or the ``average``.
    """

    length: Literal["closest", "shortest", "average"] = "closest"

    def stat(self, record: Record) -> Stat:
        """Count one answer's runs of words."""
        said, wanted = captions(record)
        most = grams([])
        for one in wanted:
            most |= grams(one)
        counts = grams(said)
        shared = counts & most
        guesses = [max(0, len(said) - size) for size in range(LONGEST)]
        right = [sum(n for run, n in shared.items() if len(run) == k + 1) for k in range(LONGEST)]
        parts = {"right": right, "guesses": guesses, "length": len(said)}
        reference = self._reference(len(said), [len(one) for one in wanted])
        score = _bleu(right, guesses, len(said), reference)[-1]
        return Stat(
            score=score,
            parsed=" ".join(said),
            parts={**parts, "reference": reference},  # type: ignore[dict-item] # lists of integers are JSON
        )

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return BLEU-4, then BLEU-1 to 4."""
        right, guesses = [0] * LONGEST, [0] * LONGEST
        for stat in stats:
            for size in range(LONGEST):
                right[size] += cast(list[int], stat.parts["right"])[size]
                guesses[size] += cast(list[int], stat.parts["guesses"])[size]
        length = sum(cast(int, stat.parts["length"]) for stat in stats)
        reference = sum(cast(float, stat.parts["reference"]) for stat in stats)
        values = _bleu(right, guesses, length, reference)
        each = {f"bleu_{size}": value for size, value in enumerate(values, 1)}
        return {self.name: values[-1], **each}

    def _reference(self, length: int, lengths: Sequence[int]) -> float:
        if self.length == "shortest":
            return min(lengths)
        if self.length == "average":
            return sum(lengths) / len(lengths)
        return min(lengths, key=lambda one: (abs(one - length), one))


def _bleu(
    right: Sequence[int], guesses: Sequence[int], length: int, reference: float
) -> list[float]:
    ratio = (length + _TINY) / (reference + _SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, values = 1.0, []
    for size in range(len(right)):
        product *= (right[size] + _TINY) / (guesses[size] + _SMALL)
        values.append(product ** (1 / (size + 1)) * penalty)
    return values
