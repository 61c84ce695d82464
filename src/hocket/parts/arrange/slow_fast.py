"""Frames of a video pooled to squares of different sides: VITA's slow-fast and ``pool_feats``.

For layouts with the same `turns` or `budget`. Behind the connector the square of a frame's rows is
interpolated (bilinear, edges not aligned) to the side of its turn; pictures keep their rows. VITA's
own choice is ``turns: [12, 7, 7, 7]``, 144 rows for every fourth frame and 49 for the others;
``[12, 6, 6, ...]`` with fifteen 6 is its rule of one in sixteen, and one number is its
``pool_feats`` of all frames. ``budget`` is its rule that shares out 4096 or 5200 rows.

Letters: U encoder units, K rows of a unit, D language width, R rows, N frames of one side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from hocket._errors import AlignmentError
from hocket.parts.arrange import Arrange, arrangements
from hocket.parts.features import Features
from hocket.tokens.layout._film import check_sides, frame_sides
from hocket.tokens.span import Modality, Plan


@arrangements.register
class SlowFast(Arrange):
    """Give some frames more rows than others."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            turns: sides of the squares that frames become, by turns, as in the layout; empty keeps
                what the connector made.
            budget: rows that frames share out instead, 4096 or 5200, as in the layout; 0 for none.
        """

        turns: tuple[int, ...] = ()
        budget: int = 0

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()
        check_sides("arrangement 'slow_fast'", turns=config.turns, budget=config.budget)
        self.turns, self.budget = config.turns, config.budget

    def rows(self, plan: Plan, *, per_unit: int) -> int:
        """The squares of all frames, or all rows of a picture.

        Raises:
            MediaError: the video has more frames than the budget's rule knows.
        """
        sides = frame_sides(plan.frames, turns=self.turns, budget=self.budget)
        return sum(side**2 for side in sides) if sides else plan.units * per_unit

    def forward(self, rows: Tensor, features: Features) -> Tensor:
        """Turn (U, K, D) into (R, D)."""
        counts = [1] * len(rows) if features.spans is None else features.spans[:, 0].tolist()
        if features.modality is not Modality.VIDEO or not (self.turns or self.budget):
            return rearrange(rows, "u k d -> (u k) d")
        if math.isqrt(rows.shape[1]) ** 2 != rows.shape[1]:
            raise AlignmentError(
                f"arrangement 'slow_fast': {rows.shape[1]} rows of a frame form no square. Choose "
                "a connector that keeps squares."
            )
        made = [rows.new_empty(0, rows.shape[2])]
        start = 0
        for count in counts:
            sides = frame_sides(count, turns=self.turns, budget=self.budget)
            pooled = {
                side: pool_square(
                    rows[[start + at for at, own in enumerate(sides) if own == side]], side
                )
                for side in set(sides)
            }
            taken = dict.fromkeys(pooled, 0)
            for side in sides:
                made.append(pooled[side][taken[side]])
                taken[side] += 1
            start += count
        return torch.cat(made)


def pool_square(rows: Tensor, side: int) -> Tensor:
    """Interpolate the squares (N, K, D) to (N, side * side, D)."""
    maps = rearrange(rows, "n (h w) d -> n d h w", h=math.isqrt(rows.shape[1]))
    # In float32, since half precision would move them.
    small = functional.interpolate(maps.float(), size=(side, side), mode="bilinear")
    return rearrange(small.to(rows.dtype), "n d h w -> n (h w) d")
