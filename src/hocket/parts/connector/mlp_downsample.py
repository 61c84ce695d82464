"""Fold squares of patches into the channels, then layers that narrow (VILA's ``mlp_downsample``).

Features (U, P, C) on a grid become ceil(height / fold) * ceil(width / fold) rows per unit; an odd
side is filled with zeros at its end. A square's channels are its patches row by row. Every linear
layer but the last has a LayerNorm before it, and every one but the last a GELU (erf) behind it.

======================  ====  =======================================
VILA's name             fold  widths between, with C the encoder's
======================  ====  =======================================
mlp_downsample          2     4C, D, D
mlp_downsample_2x2_fix  2     4C, D, D
.._3x3_fix              3     9C, 3C, D, D
.._3x3_s2               3     9C, 3C, C, C / 3, D, D
.._3x3_s2_new           3     9C, 4C, 2C, C, C / 3, D, D
======================  ====  =======================================

``mlp_downsample`` of VILA-1.5 and NaVILA writes rows column by column (`order: column_major`), the
block of the same name in VILA 2 and all others row by row. The checkpoints number a flat list:
``norm_k`` is ``layers.{3k - 2}``, ``linear_k`` is ``layers.{3k - 1}``, and the last of n linear
layers, which has no norm, is ``layers.{3n - 2}``.

Letters: U encoder units, P patches, C encoder width, D language width.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from einops import rearrange
from torch import Tensor, nn

from hocket.parts.connector import Connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Plan


class Order(StrEnum):
    """In which order the squares become rows."""

    ROW_MAJOR = "row_major"
    COLUMN_MAJOR = "column_major"


class Variant(StrEnum):
    """Which of VILA's stacks of layers."""

    FOLD2 = "2x2"
    FOLD3 = "3x3"
    FOLD3_S2 = "3x3_s2"
    FOLD3_S2_NEW = "3x3_s2_new"


# Side of the square, and hidden widths between its channels and the language width, in thirds of C.
_TABLE: dict[Variant, tuple[int, tuple[int, ...]]] = {
    Variant.FOLD2: (2, ()),
    Variant.FOLD3: (3, (9,)),
    Variant.FOLD3_S2: (3, (9, 3, 1)),
    Variant.FOLD3_S2_NEW: (3, (12, 6, 3, 1)),
}


def fold_squares(x: Tensor, grid: tuple[int, int], *, fold: int, order: Order) -> Tensor:
    """Turn (U, P, C) on a grid into (U, rows, fold * fold * C), odd sides filled with zeros.

    Args:
        x: features.
        grid: the P positions as (height, width).
        fold: side of a square.
        order: whether squares follow each other row by row or column by column.
    """
    height, width = grid
    x = rearrange(x, "u (h w) c -> u h w c", h=height)
    x = nn.functional.pad(x, (0, 0, 0, -width % fold, 0, -height % fold))
    places = "(w h)" if order is Order.COLUMN_MAJOR else "(h w)"
    return rearrange(x, f"u (h a) (w b) c -> u {places} (a b c)", a=fold, b=fold)


@connectors.register
class MlpDownsample(Connector):
    """Trade patches for channels, then narrow."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            variant: side of the square and the layers behind it.
            order: in which order the squares become rows.
        """

        variant: Variant = Variant.FOLD2
        order: Order = Order.ROW_MAJOR

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        self.order = config.order
        self.fold, thirds = _TABLE[config.variant]
        hidden = [in_width * third // 3 for third in thirds]
        widths = [in_width * self.fold**2, *hidden, out_width, out_width]
        self.depth = len(widths) - 1
        for number in range(1, self.depth + 1):
            before, after = widths[number - 1], widths[number]
            if number < self.depth:
                self.add_module(f"norm_{number}", nn.LayerNorm(before))
            self.add_module(f"linear_{number}", nn.Linear(before, after))
        self.act = nn.GELU()

    def rows(self, plan: Plan) -> int:
        """One row per square, squares at an odd end included."""
        height, width = plan.patches
        return plan.units * -(-height // self.fold) * -(-width // self.fold)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        x = fold_squares(features.x, features.grid, fold=self.fold, order=self.order)
        x = rearrange(x, "u k c -> (u k) c")
        for number in range(1, self.depth):
            x = self.get_submodule(f"norm_{number}")(x)
            x = self.act(self.get_submodule(f"linear_{number}")(x))
        return self.get_submodule(f"linear_{self.depth}")(x)
