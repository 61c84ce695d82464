"""Linear layers around a 2 x 2 average pool, as VITA's ``spp`` projectors have them.

Features (U, P, C) on a grid become (height // 2) * (width // 2) rows per unit; an odd last row or
column of patches is left out. VITA's parameter names: v1 is ``linear_1`` (C to D), pool,
``linear_2`` (D to D); v2 is both layers, then the pool; v3 is ``linear_0`` (C to C), pool, both
layers. VITA's v1 and v2 also save a ``linear_0`` that they do not use. No layer is followed by a
non-linearity.

Letters: U encoder units, P patches, C encoder width, D language width.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from einops import rearrange
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Plan

_POOL = 2


class Variant(StrEnum):
    """Where the pool stands."""

    V1 = "v1"
    V2 = "v2"
    V3 = "v3"


@connectors.register
class Spp(Connector):
    """Project and average squares of four patches."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            variant: where the pool stands: between the layers, behind them or before them.
        """

        variant: Variant = Variant.V1

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        self.variant = config.variant
        self.linear_0: nn.Module = nn.Identity()
        if config.variant is Variant.V3:
            self.linear_0 = nn.Linear(in_width, in_width)
        self.linear_1 = nn.Linear(in_width, out_width)
        self.linear_2 = nn.Linear(out_width, out_width)
        self.pool = nn.AvgPool2d(_POOL)

    def rows(self, plan: Plan) -> int:
        """One row per whole square.

        Raises:
            ConfigError: the grid holds no square.
        """
        height, width = plan.patches
        if min(height, width) < _POOL:
            raise ConfigError(
                f"connector 'spp': a grid of {height} x {width} patches holds no square of "
                f"{_POOL} x {_POOL}. Choose a connector for sound, such as 'stack'."
            )
        return plan.units * (height // _POOL) * (width // _POOL)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        grid = features.grid
        if self.variant is Variant.V1:
            x = self.linear_2(self._pooled(self.linear_1(features.x), grid))
        elif self.variant is Variant.V2:
            x = self._pooled(self.linear_2(self.linear_1(features.x)), grid)
        else:
            x = self.linear_2(self.linear_1(self._pooled(self.linear_0(features.x), grid)))
        return rearrange(x, "u k d -> (u k) d")

    def _pooled(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        square = self.pool(rearrange(x, "u (h w) c -> u c h w", h=grid[0]))
        return rearrange(square, "u c h w -> u (h w) c")
