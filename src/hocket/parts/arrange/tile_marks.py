"""Rows that mark where a picture and its tiles begin and end: Ovis 2's visual indicators.

For the layout ``image_covering``. The whole picture stands between the first two marks, its tiles
behind them with a mark between columns and another between lines, and the last mark closes it. A
picture of one tile has the first two marks and the last; so has each frame of a video.

The marks are the last five rows of Ovis 2's visual table; the rest of that table is the connector
``visual_vocab`` with ``marks: false`` and ``indicators: 0``.

Letters: U encoder units, K rows of a unit, D language width, R rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hocket.parts.arrange import Arrange, arrangements
from hocket.parts.features import Features
from hocket.tokens.layout.image_covering import MARKS, count_marks
from hocket.tokens.span import Plan


@arrangements.register
class TileMarks(Arrange):
    """Put learned rows before, between and behind the tiles."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()
        # Begin, end of the whole picture, between columns, between lines, end.
        self.marks = nn.Parameter(torch.randn(MARKS, width) / math.sqrt(width))

    def rows(self, plan: Plan, *, per_unit: int) -> int:
        """All rows of all units, and the marks."""
        tiles = math.prod(plan.tiles)
        if _tiled(plan.units, plan.grid[0], tiles):
            return plan.units * per_unit + count_marks(tiles)
        return plan.units * (per_unit + count_marks(1))

    def forward(self, rows: Tensor, features: Features) -> Tensor:
        """Turn (U, K, D) into (R, D)."""
        made: list[Tensor] = [rows.new_empty(0, rows.shape[2])]
        if features.spans is None:
            return torch.cat(made + [part for one in rows for part in self._whole(one)])
        start = 0
        for units, _, steps, _, _, down, across in features.spans.tolist():
            one = rows[start : start + units]
            start += units
            if _tiled(units, steps, down * across):
                made += self._whole(one[0], self._tiles(one[1:], across))
            else:
                made += [part for unit in one for part in self._whole(unit)]
        return torch.cat(made)

    def _whole(self, unit: Tensor, tiles: tuple[Tensor, ...] = ()) -> list[Tensor]:
        """Return the parts of a picture whose overview is (K, D)."""
        begin, stop, _, _, end = self.marks.to(unit.dtype).split(1)
        return [begin, unit, stop, *tiles, end]

    def _tiles(self, tiles: Tensor, across: int) -> tuple[Tensor, ...]:
        """Return tiles (U, K, D) of a grid with so many columns, and the marks between them."""
        _, _, column, line, _ = self.marks.to(tiles.dtype).split(1)
        parts: list[Tensor] = []
        for number, tile in enumerate(tiles):
            if number:
                parts.append(column if number % across else line)
            parts.append(tile)
        return tuple(parts)


def _tiled(units: int, steps: int, tiles: int) -> bool:
    """Say whether units are an overview and its tiles, and not frames."""
    return steps == 1 and units == 1 + tiles
