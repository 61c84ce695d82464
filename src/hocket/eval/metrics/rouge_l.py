"""ROUGE-L: the longest common subsequence of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hocket.eval.metrics import Metric, Record, Stat, metrics
from hocket.eval.metrics._ngrams import captions

_BETA = 1.2


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class RougeL(Metric):
    """ROUGE-L (Lin 2004) as COCO's captions use it: beta 1.2, best precision and best recall.

    The best precision and the best recall may come from different references.
    """

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        said, wanted = captions(record)
        # Splitting an empty answer gives one empty word in the original.
        said, wanted = said or [""], [one or [""] for one in wanted]
        common = [_common(one, said) for one in wanted]
        precision = max(found / len(said) for found in common)
        recall = max(found / len(one) for found, one in zip(common, wanted, strict=True))
        if precision == 0 or recall == 0:
            return Stat(score=0.0, parsed=" ".join(said))
        score = (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)
        return Stat(score=score, parsed=" ".join(said))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    above = [0] * (len(other) + 1)
    for left in one:
        line = [0]
        for column, right in enumerate(other):
            same = above[column] + 1 if left == right else 0
            line.append(max(same, above[column + 1], line[column]))
        above = line
    return above[-1]
