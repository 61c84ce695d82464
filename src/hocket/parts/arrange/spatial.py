"""Overview first, then the lines of the whole picture across its tiles: LLaVA-1.6's ``spatial``.

For the layout ``image_anyres`` with ``merge: spatial``. Nothing is dropped and nothing is learned;
only the order of the rows changes. Frames of a video keep theirs.

Letters: U encoder units, K rows of a unit, D language width, R rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from hocket.parts.arrange import Arrange, arrangements
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@arrangements.register
class Spatial(Arrange):
    """Order the rows of the tiles line by line."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()

    def rows(self, plan: Plan, *, per_unit: int) -> int:
        """All rows of all units."""
        return plan.units * per_unit

    def forward(self, rows: Tensor, features: Features) -> Tensor:
        """Turn (U, K, D) into (U * K, D)."""
        if features.spans is None:
            return rearrange(rows, "u k d -> (u k) d")
        side = math.isqrt(rows.shape[1])
        made: list[Tensor] = [rows.new_empty(0, rows.shape[2])]
        start = 0
        for units, _, steps, _, _, down, across in features.spans.tolist():
            one = rows[start : start + units]
            start += units
            if steps == 1 and units == 1 + down * across:
                made.append(one[0])
                lines = "(r c) (h w) d -> (r h c w) d"
                made.append(rearrange(one[1:], lines, r=down, c=across, h=side, w=side))
            else:
                made.append(rearrange(one, "u k d -> (u k) d"))
        return torch.cat(made)
