"""Relaxed accuracy: a number may be five percent off (PlotQA, ChartQA)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from hocket.eval.metrics import Metric, Record, Stat, metrics

_COMMAS = re.compile(r"(?<=\d),(?=\d{3}\b)")


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class RelaxedAccuracy(Metric):
    """ChartQA's accuracy (Masry et al. 2022): numbers within a tolerance, other text equal.

    Attributes:
        tolerance: share of the target that a number may be off.
        profile: ``default`` also reads ``1,000``, compares a target of 0 as a number and ignores
            spaces around text; ``lmms`` does none of these, as lmms-eval does not.
    """

    tolerance: float = 0.05
    profile: Literal["default", "lmms"] = "default"

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        said, target = record.answer, record.target
        if self.profile == "default":
            said, target = said.strip(), target.strip()
        number, wanted = self._number(said), self._number(target)
        comparable = wanted is not None and (wanted != 0 or self.profile == "default")
        if number is None or wanted is None or not comparable:
            return Stat(score=float(said.lower() == target.lower()), parsed=said)
        right = abs(number - wanted) <= self.tolerance * abs(wanted)
        if self.profile == "lmms":
            right = abs(number - wanted) / abs(wanted) <= self.tolerance
        return Stat(score=float(right), parsed=str(number))

    def _number(self, text: str) -> float | None:
        if self.profile == "default":
            text = _COMMAS.sub("", text)
        try:
            return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
        except ValueError:
            return None
