"""VQA accuracy: an answer is as right as annotators agree with it.

Each annotator in turn is left out, and the answer scores ``min(1, matches among the others / 3)``;
the score is the mean over annotators. With ten annotators and k matches: 0, 0.3, 0.6, 0.9, 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hocket._errors import DataError
from hocket.eval.metrics import Metric, Record, Stat, metrics
from hocket.eval.metrics._vqa_words import evalai_words, plain_spaces, vqa_words

_AGREE = 3


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class VqaAccuracy(Metric):
    """VQA accuracy (Antol et al. 2015); the key is the list of human answers.

    Attributes:
        profile: ``official`` compares unanimous annotators letter by letter, as VQA's own
            evaluation does; ``lmms`` always normalises, as lmms-eval does; ``evalai`` is
            TextVQA's processor, as LLaVA and EvalAI use it.
    """

    profile: Literal["official", "lmms", "evalai"] = "official"

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        if not isinstance(record.key, list) or not record.key:
            raise DataError(f"{record.id}: VQA accuracy needs a list of answers, not {record.key}.")
        answer, answers = self._words(record.answer, [str(one) for one in record.key])
        return Stat(score=agreement(answer, answers), parsed=answer)

    def _words(self, answer: str, answers: Sequence[str]) -> tuple[str, list[str]]:
        if self.profile == "evalai":
            return evalai_words(answer), [evalai_words(one) for one in answers]
        plain = [plain_spaces(one) for one in answers]
        if self.profile == "official" and len(set(plain)) == 1:
            return plain_spaces(answer), plain
        official = self.profile == "official"
        words = [vqa_words(one, official=official) for one in (answer, *answers)]
        return words[0], words[1:]


def agreement(answer: str, answers: Sequence[str]) -> float:
    """Return the mean over annotators of ``min(1, matches among the others / 3)``."""
    matches = sum(one == answer for one in answers)
    each = [min(1.0, (matches - (one == answer)) / _AGREE) for one in answers]
    return sum(each) / len(each)
