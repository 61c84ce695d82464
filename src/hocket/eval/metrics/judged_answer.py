"""Open answers about videos, right or wrong as a judge says (MSVD-QA and its like)."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from hocket.eval.judge import Chat, Judge, Unasked
from hocket.eval.metrics import Metric, Record, Stat, mean, metrics

_TASK = (
    "You compare a predicted answer to a question about a video with the correct answer. Decide "
    "whether they mean the same; other words for the same thing are fine. Reply only with a "
    "Python dictionary such as {'pred': 'yes', 'score': 4}: 'pred' is yes or no, 'score' an "
    "integer from 0 to 5 that says how well they match."
)
_BEST_SCORE = 5


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAnswer(Metric):
    """Share of answers that a judge calls right, and its mean score from 0 to 5.

    An answer that the judge does not speak of, or not readably, has no score and is counted.

    Attributes:
        judge: who is asked.
    """

    judge: Judge = field(default_factory=Unasked)
    as_is = ("judge_score", "unscored")

    def measure(self, records: Sequence[Record]) -> list[Stat]:
        """Ask the judge about every answer."""
        said = self.judge.ask([question(record) for record in records])
        return [_stat(one) for one in said]

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return the share of right ones, the mean score and how many are unscored."""
        scored = [stat for stat in stats if stat.score is not None]
        return {
            self.name: mean([cast(float, stat.score) for stat in scored]),
            "judge_score": mean([cast(float, stat.parts["score"]) for stat in scored]),
            "unscored": float(len(stats) - len(scored)),
        }


def question(record: Record) -> Chat:
    """Return what the judge is asked about a record."""
    asked = record.meta.get("question", "")
    text = f"Question: {asked}\nCorrect answer: {record.target}\nPredicted answer: {record.answer}"
    return (("system", _TASK), ("user", text))


def read_verdict(said: str) -> dict[str, object]:
    """Return the dictionary in a judge's reply, empty where there is none."""
    start, end = said.find("{"), said.rfind("}")
    try:
        found = ast.literal_eval(said[start : end + 1])
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return {}
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def read_score(value: object) -> float | None:
    """Return a score from 0 to 5, or None of anything else."""
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    try:
        score = float(value)
    except ValueError:
        return None
    return score if 0 <= score <= _BEST_SCORE else None


def _stat(said: str | None) -> Stat:
    verdict = read_verdict(said or "")
    label, score = str(verdict.get("pred", "")).strip().lower(), read_score(verdict.get("score"))
    if label not in ("yes", "no") or score is None:
        return Stat(score=None, parsed=said or "", valid=False)
    return Stat(score=float(label == "yes"), parsed=label, parts={"score": score})
