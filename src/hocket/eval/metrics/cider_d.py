"""CIDEr-D: runs of words weighed by how rare they are among all pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hocket.eval.metrics import Metric, Record, Stat, metrics
from hocket.eval.metrics._ngrams import LONGEST, Grams, captions, grams

_SIGMA = 6.0
_SCALE = 10.0


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class CiderD(Metric):
    """CIDEr-D (Vedantam et al. 2015); the mean over pictures of a value from 0 to 10.

    How rare a run of words is depends on the right captions of all records measured together, so
    numbers of a limited run compare with no other.
    """

    best = 10.0

    def measure(self, records: Sequence[Record]) -> list[Stat]:
        """Measure all answers against the captions of all records."""
        pairs = [captions(record) for record in records]
        counted = [(said, grams(said), [grams(one) for one in wanted]) for said, wanted in pairs]
        seen: Grams = Counter()
        for _, _, wanted in counted:
            seen.update(set().union(*wanted))
        rarity = _Rarity(seen, len(records))
        stats = []
        for said, counts, wanted in counted:
            vectors = [rarity.weigh(one) for one in wanted]
            answer = rarity.weigh(counts)
            score = sum(_similar(answer, one) for one in vectors) / len(vectors) * _SCALE
            stats.append(Stat(score=score, parsed=" ".join(said)))
        return stats


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A caption as weights of its runs of words.

    Attributes:
        weights: per length of run, the weight of each.
        norms: per length, the Euclidean length of the weights.
        pairs: how many runs of two words there are, which stands for the caption's length.
    """

    weights: list[dict[tuple[str, ...], float]]
    norms: list[float]
    pairs: int


@dataclass(frozen=True, slots=True)
class _Rarity:
    """In how many pictures' captions each run of words occurs, and how many pictures there are."""

    seen: Grams
    pictures: int

    def weigh(self, counts: Grams) -> _Weighed:
        weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(LONGEST)]
        whole = math.log(self.pictures)
        for run, count in counts.items():
            rare = whole - math.log(max(1.0, self.seen[run]))
            weights[len(run) - 1][run] = count * rare
        norms = [math.sqrt(sum(one**2 for one in each.values())) for each in weights]
        pairs = sum(count for run, count in counts.items() if len(run) == 2)
        return _Weighed(weights, norms, pairs)


def _similar(answer: _Weighed, wanted: _Weighed) -> float:
    """Return the mean over lengths of the clipped cosine, lowered where lengths differ."""
    lower = math.exp(-((answer.pairs - wanted.pairs) ** 2) / (2 * _SIGMA**2))
    values = []
    for size in range(LONGEST):
        theirs = wanted.weights[size]
        found = [
            min(one, theirs.get(run, 0.0)) * theirs.get(run, 0.0)
            for run, one in answer.weights[size].items()
        ]
        norm = answer.norms[size] * wanted.norms[size]
        values.append(sum(found) / norm * lower if norm else 0.0)
    return sum(values) / LONGEST
