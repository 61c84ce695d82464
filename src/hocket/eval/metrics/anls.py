"""ANLS: how similar a read text is, letter by letter (ST-VQA, DocVQA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hocket._errors import DataError
from hocket.eval.metrics import Metric, Record, Stat, metrics
from hocket.eval.metrics._edit import edits


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Anls(Metric):
    """Average normalised Levenshtein similarity (Biten et al. 2019); the key is a list of answers.

    The score is the best ``1 - edits / longer length`` over the answers, and 0 below `threshold`.

    Attributes:
        profile: ``default`` compares lower-case text with single spaces; ``lmms`` divides by the
            lengths before spaces are made single, as lmms-eval does, so that spaces raise a
            score; ``stvqa`` leaves spaces inside alone, as ST-VQA's own evaluation does.
        threshold: similarity below which an answer is wrong.
    """

    profile: Literal["default", "lmms", "stvqa"] = "default"
    threshold: float = 0.5

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        if not isinstance(record.key, list) or not record.key:
            raise DataError(f"{record.id}: ANLS needs a list of answers, not {record.key}.")
        best = max(self._similarity(str(one), record.answer) for one in record.key)
        return Stat(score=best if best >= self.threshold else 0.0, parsed=record.answer)

    def _similarity(self, answer: str, said: str) -> float:
        one, other = self._plain(answer), self._plain(said)
        # lmms-eval's capitals may be more letters than there were: of a sharp s, two.
        compared = (answer.upper(), said.upper()) if self.profile == "lmms" else (one, other)
        length = max(map(len, compared))
        return 1 - edits(one, other) / length if length else 1.0

    def _plain(self, text: str) -> str:
        lower = text.strip().lower()
        return lower if self.profile == "stvqa" else " ".join(lower.split())
