"""WUPS: how near the words of an answer are to those of the right one (NExT-QA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from hocket.eval.metrics import Metric, Record, Stat, mean, metrics
from hocket.eval.metrics._ptb import all_words
from hocket.eval.wordnet import WordNet, Words

# Counting and yes-or-no questions are right or wrong.
_EXACT = {"DC", "DB"}
_FAR = 0.1
_STRICT = 0.9
_FREQUENT = (
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself "
    "she her hers herself it its itself they them their theirs themselves what which who whom "
    "this that these those am is are was were be been being have has had having do does did "
    "doing a an the and but if or because as until while to from of at for with about into "
    "through during again further then here there when where why how all any each most other "
    "some such only own so than too very s t can will just don should now d ll m o re ve y n't "
    "'s 'll 'd 've 're 'm"
)
_PASSED_OVER = frozenset(_FREQUENT.split())


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Wups(Metric):
    """WUPS at 0 and at 0.9 (Malinowski and Fritz 2014) as NExT-QA uses it.

    Words are made basic, frequent ones left out; counts and yes-or-no questions (groups DC and DB)
    need the same words. With several right answers, the key, the nearest counts. Basic forms come
    from WordNet alone; NExT-QA's own script tags parts of speech before, so a few words differ.

    Attributes:
        wordnet: who knows words.
        profile: ``default``; ``lmms`` measures the second right answer at 0 for WUPS at 0.9 too,
            as lmms-eval does.
    """

    wordnet: Words = field(default_factory=WordNet)
    profile: Literal["default", "lmms"] = "default"

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        keys = record.key if isinstance(record.key, list) else [record.target]
        said = self._basic(record.answer)
        wanted = [self._basic(str(key)) for key in keys]
        if record.group in _EXACT:
            loose = strict = float(said in wanted)
        else:
            loose = max(self._nearness(said, one, 0.0) for one in wanted)
            lines = [_STRICT] + [0.0 if self.profile == "lmms" else _STRICT] * (len(wanted) - 1)
            strict = max(
                self._nearness(said, one, line) for one, line in zip(wanted, lines, strict=True)
            )
        return Stat(score=loose, parsed=" ".join(said), parts={"strict": strict})

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return WUPS at 0 and WUPS at 0.9."""
        strict = mean([cast(float, stat.parts["strict"]) for stat in stats])
        return {**super(Wups, self).reduce(stats), "wups_0.9": strict}

    def _basic(self, text: str) -> list[str]:
        words = [self.wordnet.base_form(word) for word in all_words(text)]
        return [word for word in words if word[0].isalnum() and word not in _PASSED_OVER]

    def _nearness(self, one: Sequence[str], other: Sequence[str], line: float) -> float:
        return min(self._covered(one, other, line), self._covered(other, one, line))

    def _covered(self, words: Sequence[str], others: Sequence[str], line: float) -> float:
        """Return the product over words of the nearest other, words without any left out."""
        best = [max((self._near(word, one, line) for one in others), default=0.0) for word in words]
        product, any_ = 1.0, False
        for value in best:
            if value:
                product, any_ = product * value, True
        return product if any_ else 0.0

    def _near(self, one: str, other: str, line: float) -> float:
        if one == other:
            return 1.0
        near = self.wordnet.similarity(one, other)
        return near if near >= line else _FAR * near
