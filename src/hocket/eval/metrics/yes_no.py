"""Yes or no: accuracy, precision, recall, F1 and the share of yes (POPE)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hocket.eval.metrics import Metric, Record, Stat, mean, metrics

_NO_WORDS = {"No", "no", "not"}
_WORD = re.compile(r"[a-z]+")


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class YesNo(Metric):
    """POPE's numbers (Li et al. 2023), yes being the positive class; the headline is mean F1.

    LLaVA's published number is the mean of the F1 of the three groups, so that comes first.

    Attributes:
        profile: ``default`` reads the first word that is yes or no, ``not`` counting as no, and
            counts an answer with neither as wrong and as no prediction of yes; ``llava`` reads
            the first sentence and takes all but No, no and not for yes; ``lmms`` knows only
            exactly yes and no, forgets unreadable answers in the recall and counts the labels
            as the share of yes.
    """

    profile: Literal["default", "llava", "lmms"] = "default"

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        wanted = record.target.strip().lower()
        said = self._read(record.answer)
        return Stat(
            score=float(said == wanted),
            parsed=said,
            valid=said in ("yes", "no"),
            parts={"said": said, "wanted": wanted, "group": record.group},
        )

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return mean F1 over groups, then the numbers of all answers together."""
        groups: dict[str, list[Stat]] = {}
        for stat in stats:
            groups.setdefault(str(stat.parts["group"]), []).append(stat)
        whole = self._numbers(stats)
        f1 = {name: self._numbers(group)["f1"] for name, group in groups.items()}
        return {self.name: mean(list(f1.values())), **whole}

    def _read(self, answer: str) -> str:
        if self.profile == "lmms":
            return answer.lower().strip()
        if self.profile == "llava":
            words = answer.split(".")[0].replace(",", "").split(" ")
            return "no" if _NO_WORDS & set(words) else "yes"
        found = (word for word in _WORD.findall(answer.lower()) if word in ("yes", "no", "not"))
        return {"yes": "yes", "no": "no", "not": "no"}.get(next(found, ""), "")

    def _numbers(self, stats: Sequence[Stat]) -> dict[str, float]:
        pairs = [(stat.parts["said"], stat.parts["wanted"]) for stat in stats]
        hits = sum(said == wanted == "yes" for said, wanted in pairs)
        alarms = sum(said == "yes" and wanted == "no" for said, wanted in pairs)
        missed = sum(said != "yes" and wanted == "yes" for said, wanted in pairs)
        if self.profile == "lmms":
            missed = sum(said == "no" and wanted == "yes" for said, wanted in pairs)
        at = 1 if self.profile == "lmms" else 0
        precision, recall = _share(hits, hits + alarms), _share(hits, hits + missed)
        return {
            "accuracy": mean([float(said == wanted) for said, wanted in pairs]),
            "precision": precision,
            "recall": recall,
            "f1": _share(2 * precision * recall, precision + recall),
            "yes_ratio": mean([float(pair[at] == "yes") for pair in pairs]),
        }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
