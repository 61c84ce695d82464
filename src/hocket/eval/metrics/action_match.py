"""Next actions of a robot: whether an answer orders the same as the expert did (NaVILA's rows)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hocket.eval.metrics import Metric, Record, Stat, mean, metrics

_STOP = re.compile(r"\bstop\b", re.IGNORECASE)
# What is ordered, the number behind it, and the sizes that NaVILA knows. Unlike the words before
# it, NaVILA finds a number with the case as it is.
_KINDS = tuple(
    (
        kind,
        re.compile(rf"\bis {words}\b", re.IGNORECASE),
        re.compile(rf"{words} (\d+) {unit}"),
        sizes,
    )
    for kind, words, unit, sizes in (
        ("forward", "move forward", "cm", (25, 50, 75)),
        ("left", "turn left", "degree", (15, 30, 45)),
        ("right", "turn right", "degree", (15, 30, 45)),
    )
)


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ActionMatch(Metric):
    """Share of decisions equal to the expert's, kind and size; and of kinds alone.

    Answers are read as NaVILA's evaluation reads them; what cannot be read is wrong and invalid.
    """

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        said, wanted = read_action(record.answer), read_action(record.target)
        kind = bool(said and wanted and said[0] == wanted[0])
        return Stat(
            score=float(said is not None and said == wanted),
            parsed=f"{said[0]} {said[1]}" if said else "",
            valid=said is not None,
            parts={"kind": float(kind)},
        )

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return the share of equal decisions, of equal kinds, and of unreadable answers."""
        kinds = [float(stat.parts["kind"] == 1) for stat in stats]
        invalid = [float(not stat.valid) for stat in stats]
        return {
            **super(ActionMatch, self).reduce(stats),
            "kind": mean(kinds),
            "invalid": mean(invalid),
        }


def read_action(text: str) -> tuple[str, int] | None:
    """Return kind and size (centimetres or degrees) of an action as NaVILA reads it, or None.

    ``stop`` as a word of its own wins, then forward, left, right. A size that is no multiple of the
    smallest becomes the nearest of the three; without a number it is the smallest.
    """
    if _STOP.search(text):
        return "stop", 0
    for kind, words, number, sizes in _KINDS:
        if not words.search(text):
            continue
        found = number.search(text)
        size = int(found[1]) if found else sizes[0]
        if size % sizes[0]:
            size = min(sizes, key=lambda one: abs(one - size))
        return kind, max(size, sizes[0])
    return None
