"""MME: two yes-no questions for each picture, scored one by one and as a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hocket.eval.metrics import Metric, Record, Stat, mean, metrics

PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = (
    "commonsense_reasoning",
    "numerical_calculation",
    "text_translation",
    "code_reasoning",
)
_LOOKED_AT_CHARS = 4


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Mme(Metric):
    """MME's scores (Fu et al. 2023): per category accuracy plus accuracy of pairs, 0 to 200.

    The headline is the sum over all categories. A picture with one of its two answers counts
    with what is there, so that a limited run has numbers too; lmms-eval stops at one.
    """

    best = 200.0
    percent = False
    scored_with = "picture"

    @property
    def best_answer(self) -> float:
        """A right answer scores 1; `best` is a category's."""
        return 1.0

    def stat(self, record: Record) -> Stat:
        """Measure one answer; the group is the category, the cluster the picture."""
        said = read_yes_no(record.answer)
        return Stat(
            score=float(said == record.target.lower().strip().replace(".", "")),
            parsed=said,
            valid=said != "other",
            parts={"category": record.group, "picture": record.cluster},
        )

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return the sum over all categories, of perception and of cognition, and each category."""
        pictures: dict[str, dict[str, list[float]]] = {}
        for stat in stats:
            category, picture = str(stat.parts["category"]), str(stat.parts["picture"])
            pairs = pictures.setdefault(category, {}).setdefault(picture, [])
            pairs.append(stat.score or 0.0)
        each = {name: _category(list(found.values())) for name, found in pictures.items()}
        return {
            self.name: sum(each.values()),
            "perception": sum(each.get(name, 0.0) for name in PERCEPTION),
            "cognition": sum(each.get(name, 0.0) for name in COGNITION),
            **each,
        }


def read_yes_no(answer: str) -> str:
    """Return ``yes``, ``no`` or ``other``, as MME reads the first four letters of an answer."""
    text = answer.lower().strip().replace(".", "")
    if len(text) == 1:
        return {"y": "yes", "n": "no"}.get(text, "other")
    start = text[:_LOOKED_AT_CHARS]
    return "yes" if "yes" in start else "no" if "no" in start else "other"


def _category(pictures: Sequence[Sequence[float]]) -> float:
    alone = mean([mean(scores) for scores in pictures])
    return 100 * (alone + mean([float(all(scores)) for scores in pictures]))
