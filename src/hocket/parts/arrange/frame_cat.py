"""Five units joined on their channels: VITA's frameCat.

For the layout ``image_frame_cat``. Before the connector a block of a picture and its quarters
become one unit of five times the width; behind it nothing changes.

Letters: U encoder units, P positions of a unit, C encoder width, B blocks, K rows of a block, D
language width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor

from hocket.parts.arrange import Arrange, arrangements
from hocket.parts.features import Features
from hocket.tokens.layout.image_frame_cat import JOINED
from hocket.tokens.span import Plan


@arrangements.register
class FrameCat(Arrange):
    """Join every five units."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()

    def in_width(self, width: int) -> int:
        """Five units stand side by side."""
        return JOINED * width

    def rows(self, plan: Plan, *, per_unit: int) -> int:
        """The rows of all blocks."""
        return -(-plan.units // JOINED) * per_unit

    def gather(self, features: Features) -> Features:
        """Turn (U, P, C) into (B, P, 5 * C); the spans count blocks from here on.

        The last unit of a medium that is no multiple of five units stands for those it lacks.
        """
        if features.spans is None:
            return features._replace(x=repeat(features.x, "u p c -> u p (n c)", n=JOINED))
        made = [features.x.new_empty(0, features.x.shape[1], JOINED * features.x.shape[2])]
        for one in features.x.split(features.spans[:, 0].tolist()):
            lacking = -len(one) % JOINED
            filled = torch.cat([one, one[-1:].expand(lacking, -1, -1)]) if lacking else one
            made.append(rearrange(filled, "(b n) p c -> b p (n c)", n=JOINED))
        spans = features.spans.clone()
        spans[:, 0] = torch.tensor([len(one) for one in made[1:]], device=spans.device)
        return features._replace(x=torch.cat(made), spans=spans)

    def forward(self, rows: Tensor, features: Features) -> Tensor:
        """Turn (B, K, D) into (B * K, D)."""
        return rearrange(rows, "b k d -> (b k) d")
