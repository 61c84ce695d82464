"""Overview first, then the picture's lines without padding, a learned row behind each: LLaVA-1.6.

``mm_patch_merge_type: spatial_unpad``, for the layout ``image_anyres`` with ``merge: unpad``: the
tiles become one map, the lines or columns that show padding are dropped alike on both sides, and
every line ends with `image_newline`. A unit without tiles, such as a frame, gets one newline.

Letters: U encoder units, K rows of a unit, D language width, R rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from hocket.parts.arrange import Arrange, arrangements
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@arrangements.register
class SpatialUnpad(Arrange):
    """Join tiles to one picture, drop its padding, end every line with a learned row."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()
        self.image_newline = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def rows(self, plan: Plan, *, per_unit: int) -> int:
        """The overview's rows, and every line of the grid with its newline."""
        steps, height, width = plan.grid
        if _tiled(plan.units, steps, *plan.tiles):
            return per_unit + height * (width + 1)
        return plan.units * (per_unit + 1)

    def forward(self, rows: Tensor, features: Features) -> Tensor:
        """Turn (U, K, D) into (R, D)."""
        if features.spans is None:
            return self._alone(rows)
        made: list[Tensor] = [rows.new_empty(0, rows.shape[2])]
        start = 0
        for units, _, steps, height, width, down, across in features.spans.tolist():
            one = rows[start : start + units]
            start += units
            if _tiled(units, steps, down, across):
                made += [one[0], self._lines(one[1:], (height, width), (down, across))]
            else:
                made.append(self._alone(one))
        return torch.cat(made)

    def _alone(self, rows: Tensor) -> Tensor:
        """Put a newline behind each unit: (U, K, D) to (U * (K + 1), D)."""
        newline = repeat(self.image_newline.to(rows.dtype), "d -> u 1 d", u=len(rows))
        return rearrange(torch.cat([rows, newline], dim=1), "u k d -> (u k) d")

    def _lines(self, tiles: Tensor, shown: tuple[int, int], grid: tuple[int, int]) -> Tensor:
        """Turn the (U, K, D) tiles of a grid into the lines that show the picture."""
        side = math.isqrt(tiles.shape[1])
        whole = rearrange(
            tiles, "(r c) (h w) d -> (r h) (c w) d", r=grid[0], c=grid[1], h=side, w=side
        )
        height, width = shown
        top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
        whole = whole[top : top + height, left : left + width]
        newline = repeat(self.image_newline.to(tiles.dtype), "d -> h 1 d", h=height)
        return rearrange(torch.cat([whole, newline], dim=1), "h w d -> (h w) d")


def _tiled(units: int, steps: int, down: int, across: int) -> bool:
    """Say whether units are an overview and its tiles, and not frames."""
    return steps == 1 and units == 1 + down * across
