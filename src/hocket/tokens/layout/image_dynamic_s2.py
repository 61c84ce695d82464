"""A picture at several scales, the largest tiled after its shape: VILA 2's dynamic S2.

Every scale but the last is a square of (scale / first scale) squared tiles; the last is InternVL's
dynamic tiling with at least as many tiles as its square would have. Units are the tiles of all
scales, small to large, each row by row. The arrangement ``dynamic_s2`` joins the scales again; the
options `scales` and `output` must be the same there. A frame of a video, or a picture among
several, is one tile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hocket._errors import ConfigError
from hocket.tokens.layout import layouts
from hocket.tokens.layout._pixels import (
    Filter,
    Fit,
    check_numbers,
    cut,
    normalise_all,
    resize,
    rows_grid,
    to_square,
)
from hocket.tokens.layout._tiling import tile_grid
from hocket.tokens.span import Plan


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDynamicS2:
    """Cut a picture into the tiles of several scales.

    Attributes:
        size: side of a tile in pixels.
        patch: side of an encoder patch in pixels.
        rows_per_unit: language-model rows of one block, filled in from the connector.
        extra_rows: learned rows beside them for each medium, filled in from the connector.
        frame_pool: video frames that share their rows, filled in from the connector.
        before: texts in front of the rows of each picture or frame, tokenised one by one.
        after: texts behind the rows of each picture or frame, tokenised one by one.
        scales: sides of the scales, ascending; only their ratios to the first count.
        output: index of the scale whose map the features keep, as in the arrangement.
        max_tiles: most tiles of the last scale; where they are fewer than its square has, the
            last scale is one tile, as in VILA 2.
        frame_tiles: the same for frames, each tile of which then counts as a frame of its own; 1
            keeps frames whole.
        tile_several: whether pictures that share a sample are tiled; VILA 2 tiles lone ones only.
        fit: how a frame or a picture that is not tiled becomes square.
        resample: filter of the resize.
        mean: per-channel mean, subtracted after scaling to 0..1.
        std: per-channel standard deviation, divided by.
    """

    size: int = 448
    patch: int = 14
    rows_per_unit: int = 0
    extra_rows: int = 0
    frame_pool: int = 1
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    scales: tuple[int, ...] = (1, 2, 3)
    output: int = -1
    max_tiles: int = 12
    frame_tiles: int = 1
    tile_several: bool = False
    fit: Fit = Fit.SQUASH
    resample: Filter = Filter.BICUBIC
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        """Check that the numbers describe scales.

        Raises:
            ConfigError: a patch, a scale or a number of tiles is impossible, or a deviation is
                zero.
        """
        check_numbers("image_dynamic_s2", size=self.size, patch=self.patch, std=self.std)
        first = self.scales[0] if self.scales else 0
        if len(self.scales) < 2 or first < 1 or any(scale < first for scale in self.scales):
            raise ConfigError(
                f"layout 'image_dynamic_s2': scales is {list(self.scales)}, expected two or more "
                "ascending sides above 0."
            )
        if not -len(self.scales) <= self.output < len(self.scales):
            raise ConfigError(
                f"layout 'image_dynamic_s2': output is {self.output}, expected an index into "
                f"{len(self.scales)} scales."
            )
        if min(self.max_tiles, self.frame_tiles) < 1:
            raise ConfigError(
                f"layout 'image_dynamic_s2': max_tiles is {self.max_tiles} and frame_tiles is "
                f"{self.frame_tiles}, expected 1 or more."
            )

    @property
    def _squares(self) -> list[int]:
        """Tiles along a side of each scale."""
        return [scale // self.scales[0] for scale in self.scales]

    def plan(self, height: int, width: int, *, frames: int | None = None, media: int = 1) -> Plan:
        """Return the tiles of all scales of a picture, or of each frame."""
        side = self.size // self.patch
        rows = self.rows_per_unit or side * side
        one = Plan(
            units=1, patches=(side, side), rows=rows, grid=rows_grid(rows), front=self.before
        )
        if frames is not None:
            return self._film(one, height, width, frames).with_learned(self.extra_rows)
        if media > 1 and not self.tile_several:
            return one.with_learned(self.extra_rows)
        grids = self._grids(height, width, self.max_tiles)
        kept = grids[self.output]
        return replace(
            one,
            units=sum(down * across for down, across in grids),
            rows=kept[0] * kept[1] * rows,
            grid=rows_grid(rows, kept),
            tiles=grids[-1],
        ).with_learned(self.extra_rows)

    def _film(self, one: Plan, height: int, width: int, frames: int) -> Plan:
        if self.frame_tiles == 1:
            return one.repeat(frames, pool=self.frame_pool)
        grids = self._grids(height, width, self.frame_tiles)
        shown = frames * sum(down * across for down, across in grids)
        return replace(one.repeat(shown, pool=self.frame_pool), tiles=grids[-1])

    def _grids(self, height: int, width: int, most: int) -> list[tuple[int, int]]:
        """Return the (rows, columns) of the tiles of each scale."""
        *small, large = self._squares
        tiles = tile_grid(height, width, size=self.size, least=large**2, most=most)
        return [*((square, square) for square in small), tiles]

    def smaller(self, plan: Plan, height: int, width: int, *, media: int = 1) -> Plan | None:
        """Return the plan with fewer tiles in the last scale."""
        fewer = plan.tiles[0] * plan.tiles[1] - 1
        if plan.units == 1 or fewer < 1:
            return None
        return replace(self, max_tiles=fewer).plan(height, width, media=media)

    def units(self, frames: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn uint8 (N, H, W, 3) into float32 (U, 3, size, size)."""
        tiled = self.frame_tiles > 1 if plan.frames else plan.units > 1
        if not tiled:
            tiles = [
                to_square(pixels, self.size, fit=self.fit, resample=self.resample, mean=self.mean)
                for pixels in frames
            ]
        else:
            grids = [(square, square) for square in self._squares[:-1]] + [plan.tiles]
            tiles = [
                tile
                for pixels in frames
                for down, across in grids
                for tile in cut(
                    resize(pixels, down * self.size, across * self.size, self.resample), self.size
                )
            ]
        return normalise_all(tiles, mean=self.mean, std=self.std)
