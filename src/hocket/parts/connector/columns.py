"""One row per column of the grid, as HorizonNet reads a room: from left to right.

Where everything stands on one floor, the direction of a thing is its column and its distance is
its height in it. So all positions of a column go into the channels, and the language model finds
the directions side by side (Sun et al. 2019). What stands where across is told by waves, since
convolutions hardly know it.

Letters: U encoder units, H and W positions of the grid, C encoder width, D language width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Plan

_WAVES = 8


@connectors.register
class Columns(Connector):
    """Trade the height for channels, then project."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            height: positions of a column; the encoder's grid has that many rows.
        """

        height: int = 4

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if config.height < 1:
            raise ConfigError(
                f"connector 'columns': height is {config.height}, expected 1 or more."
            )
        self.height = config.height
        self.layer_norm = nn.LayerNorm(in_width * config.height)
        self.linear_1 = nn.Linear(in_width * config.height, out_width)
        self.across = nn.Linear(_WAVES, out_width, bias=False)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(out_width, out_width)

    def rows(self, plan: Plan) -> int:
        """One row per column.

        Raises:
            ConfigError: the grid has another height.
        """
        height, width = plan.patches
        if height != self.height:
            raise ConfigError(
                f"connector 'columns': the grid is {height} x {width}, but height is "
                f"{self.height}. Set it to {height}."
            )
        return plan.units * width

    def forward(self, features: Features) -> Tensor:
        """Turn (U, H * W, C) into (U * W, D)."""
        x = rearrange(features.x, "u (h w) c -> u w (h c)", h=self.height)
        places = self.across(_waves(features.grid[1], x))
        x = self.linear_1(self.layer_norm(x)) + repeat(places, "w d -> u w d", u=len(x))
        return rearrange(self.linear_2(self.act(x)), "u w d -> (u w) d")


def _waves(count: int, like: Tensor) -> Tensor:
    """Return cosines of 1 to 8 half turns over that many places, (W, 8)."""
    at = (torch.arange(count, device=like.device, dtype=torch.float32) + 0.5) / count
    turns = torch.arange(1, _WAVES + 1, device=like.device, dtype=torch.float32)
    return torch.cos(math.pi * at[:, None] * turns).to(like.dtype)
