"""Fold squares of neighbouring patches into the channels, then linear layers.

Takes features (U, P, C) on a grid; gives P / fold**2 rows per unit, row by row. With `norm` it is
InternVL's ``mlp1``, with the parameter names of transformers' ``InternVLMultiModalProjector``
(``layer_norm``, ``linear_1``, ``linear_2``). Without, it is VITA-1.5's path for InternViT:
the encoder's `scale` of 0.5, this fold, then ``mlp2x_gelu`` (``mm_projector.0`` is ``linear_1``,
``mm_projector.2`` is ``linear_2``). Both put a square's patches row by row into the channels.

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


class Order(StrEnum):
    """In which order the patches of a square stand in the channels."""

    ROW_MAJOR = "row_major"
    COLUMN_MAJOR = "column_major"


@connectors.register
class PixelShuffle(Connector):
    """Trade patches for channels, then project."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            fold: side of the square of patches that becomes one row.
            norm: whether a LayerNorm comes before the linear layers.
            depth: linear layers, with GELU between them.
            order: in which order the patches of a square stand in the channels.
        """

        fold: int = 2
        norm: bool = True
        depth: int = 2
        order: Order = Order.ROW_MAJOR

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if config.fold < 1:
            raise ConfigError(
                f"connector 'pixel_shuffle': fold is {config.fold}, expected 1 or more."
            )
        if config.depth < 1:
            raise ConfigError(
                f"connector 'pixel_shuffle': depth is {config.depth}, expected 1 or more."
            )
        self.fold, self.order = config.fold, config.order
        width = in_width * config.fold**2
        self.layer_norm = nn.LayerNorm(width) if config.norm else nn.Identity()
        self.depth = config.depth
        for number in range(1, config.depth + 1):
            inside = width if number == 1 else out_width
            self.add_module(f"linear_{number}", nn.Linear(inside, out_width))
        self.act = nn.GELU()

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
        channels = "(a b c)" if self.order is Order.ROW_MAJOR else "(b a c)"
        x = rearrange(
            features.x,
            f"u (h a w b) c -> (u h w) {channels}",
            h=height // self.fold,
            w=width // self.fold,
            a=self.fold,
            b=self.fold,
        )
        x = self.get_submodule("linear_1")(self.layer_norm(x))
        for number in range(2, self.depth + 1):
            x = self.get_submodule(f"linear_{number}")(self.act(x))
        return x
