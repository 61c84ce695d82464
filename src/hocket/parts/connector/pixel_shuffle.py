"""Fold squares of neighbouring patches into the channels, then two linear layers.

Takes features (U, P, C) on a grid; gives P / fold**2 rows per unit. The idea is InternVL's and
SmolVLM's; channels are ordered row by row inside the square.
"""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@connectors.register
class PixelShuffle(Connector):
    """Trade patches for channels, then project."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            fold: side of the square of patches that becomes one row.
        """

        fold: int = 2

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if config.fold < 1:
            raise ConfigError(
                f"connector 'pixel_shuffle': fold is {config.fold}, expected 1 or more."
            )
        self.fold = config.fold
        width = in_width * config.fold**2
        self.norm = nn.LayerNorm(width)
        self.linear_1 = nn.Linear(width, out_width)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(out_width, out_width)

    def rows(self, plan: Plan) -> int:
        """One row per square of patches.

        Raises:
            ConfigError: the grid cannot be cut into such squares.
        """
        height, width = plan.patches
        if height % self.fold or width % self.fold:
            raise ConfigError(
                f"connector 'pixel_shuffle': a grid of {height} x {width} patches cannot be folded "
                f"by {self.fold}. Choose a fold that divides both."
            )
        return plan.units * (height // self.fold) * (width // self.fold)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (U * P / fold**2, D)."""
        height, width = features.grid
        x = rearrange(
            features.x,
            "u (h a w b) c -> (u h w) (a b c)",
            h=height // self.fold,
            w=width // self.fold,
            a=self.fold,
            b=self.fold,
        )
        return self.linear_2(self.act(self.linear_1(self.norm(x))))
