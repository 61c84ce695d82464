"""Overview first, then the picture's lines, made smaller where they are many: LLaVA-OneVision.

For the layout ``image_onevision``. Pictures are arranged as by ``spatial_unpad``, but a map larger
than `max_maps` maps of a tile is interpolated to about that size; frames of a video are
interpolated to half their rows along each side, and one `image_newline` ends the whole video.

Letters: U encoder units, K rows of a unit, D language width, R rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from hocket._errors import ConfigError
from hocket.parts.arrange import Arrange, arrangements
from hocket.parts.features import Features
from hocket.tokens.layout.image_onevision import shrunk
from hocket.tokens.span import Modality, Plan


@arrangements.register
class OneVision(Arrange):
    """Join tiles to one picture of a limited size, and frames to one video."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            max_maps: how many maps of a tile the map of a picture may be as large as, as in the
                layout.
        """

        max_maps: int = 9

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()
        if config.max_maps < 1:
            raise ConfigError(
                f"arrangement 'onevision': max_maps is {config.max_maps}, expected 1 or more."
            )
        self.max_maps = config.max_maps
        self.image_newline = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def rows(self, plan: Plan, *, per_unit: int) -> int:
        """The overview's rows and every line with its newline, or all rows and one newline."""
        steps, height, width = plan.grid
        if not _tiled(plan.units, steps, *plan.tiles):
            return plan.units * height * width + 1
        low, narrow = shrunk(height, width, rows=per_unit, most=self.max_maps)
        return per_unit + low * (narrow + 1)

    def forward(self, rows: Tensor, features: Features) -> Tensor:
        """Turn (U, K, D) into (R, D)."""
        side = math.isqrt(rows.shape[1])
        made: list[Tensor] = [rows.new_empty(0, rows.shape[2])]
        if features.spans is None:
            half = -(-side // 2) if features.modality is Modality.VIDEO else side
            return torch.cat(made + [self._whole(one[None], (half, half)) for one in rows])
        start = 0
        for units, _, steps, height, width, down, across in features.spans.tolist():
            one = rows[start : start + units]
            start += units
            if _tiled(units, steps, down, across):
                made += [one[0], self._lines(one[1:], (height, width), (down, across))]
            else:
                made.append(self._whole(one, (height, width)))
        return torch.cat(made)

    def _whole(self, units: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn a picture that is not cut, or frames, (U, K, D), into maps and one newline."""
        maps = rearrange(units, "u (h w) d -> u d h w", h=math.isqrt(units.shape[1]))
        lines = rearrange(_resized(maps, size), "u d h w -> (u h w) d")
        return torch.cat([lines, self.image_newline.to(units.dtype)[None]])

    def _lines(self, tiles: Tensor, shown: tuple[int, int], grid: tuple[int, int]) -> Tensor:
        """Turn the (U, K, D) tiles of a grid into the lines that show the picture."""
        side = math.isqrt(tiles.shape[1])
        whole = rearrange(
            tiles, "(r c) (h w) d -> 1 d (r h) (c w)", r=grid[0], c=grid[1], h=side, w=side
        )
        height, width = shown
        top, left = (whole.shape[2] - height) // 2, (whole.shape[3] - width) // 2
        whole = whole[:, :, top : top + height, left : left + width]
        size = shrunk(height, width, rows=tiles.shape[1], most=self.max_maps)
        lines = rearrange(_resized(whole, size), "1 d h w -> h w d")
        newline = repeat(self.image_newline.to(tiles.dtype), "d -> h 1 d", h=len(lines))
        return rearrange(torch.cat([lines, newline], dim=1), "h w d -> (h w) d")


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate maps (U, D, H, W), unless they have the size."""
    if maps.shape[2:] == size:
        return maps
    # In float32, since half precision would move them.
    return functional.interpolate(maps.float(), size=size, mode="bilinear").to(maps.dtype)


def _tiled(units: int, steps: int, down: int, across: int) -> bool:
    """Say whether units are an overview and its tiles, and not frames."""
    return steps == 1 and units == 1 + down * across
