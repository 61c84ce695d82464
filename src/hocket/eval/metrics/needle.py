"""Needles in haystacks: accuracy for each length and depth, the cells of a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from hocket.eval.metrics import Metric, Record, Stat, mean, metrics


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Needle(Metric):
    """Share of needles found, letters compared without case and spaces, as VILA's test does.

    Meta: ``frames``, the length of the haystack, and ``depth`` from 0 to 1.
    """

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        said, wanted = ("".join(text.lower().split()) for text in (record.answer, record.target))
        parts = {"frames": record.meta["frames"], "depth": record.meta["depth"]}
        return Stat(score=float(said.rstrip(".") == wanted.rstrip(".")), parsed=said, parts=parts)

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return the share of needles found; `heat_map` has it for each length and depth."""
        return {self.name: mean([stat.score or 0.0 for stat in stats])}


def heat_map(stats: Sequence[Stat]) -> dict[tuple[int, float], float]:
    """Return the share found for each length in frames and depth from 0 to 1."""
    cells: dict[tuple[int, float], list[float]] = {}
    for stat in stats:
        cell = (cast(int, stat.parts["frames"]), cast(float, stat.parts["depth"]))
        cells.setdefault(cell, []).append(stat.score or 0.0)
    return {cell: mean(scores) for cell, scores in sorted(cells.items())}
