"""A picture as blocks of five tiles, the whole block and its quarters: VITA's frameCat.

The picture is resized to InternVL's grid of tiles (two or more), put in the upper left corner of a
canvas of the mean colour whose sides are an even number of tiles, and cut into blocks of 2 x 2
tiles. The units of a block are the block in the size of a tile and its four tiles row by row; the
whole canvas in that size, five times, is the overview behind them. For the arrangement
``frame_cat``, which joins five units on their channels. A frame of a video is, as the overview,
five times itself: the original's way with videos is not recorded.
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

JOINED = 5
"""Units that the arrangement joins: a block and its quarters."""


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFrameCat:
    """Cut a picture into blocks of five units.

    Attributes:
        size: side of a tile in pixels.
        patch: side of an encoder patch in pixels.
        rows_per_unit: language-model rows of five joined units, filled in from the connector.
        extra_rows: learned rows beside them for each medium, filled in from the connector.
        frame_pool: always 1: frames share no rows.
        after: texts behind the rows of each block or frame, tokenised one by one.
        min_tiles: fewest tiles of a picture.
        max_tiles: most tiles of a picture.
        tile_several: whether pictures that share a sample are tiled.
        fit: how what is not tiled becomes square.
        resample: filter of the resize.
        mean: per-channel mean, subtracted after scaling to 0..1, and the canvas' colour.
        std: per-channel standard deviation, divided by.
    """

    size: int = 448
    patch: int = 14
    rows_per_unit: int = 0
    extra_rows: int = 0
    frame_pool: int = 1
    after: tuple[str, ...] = ()
    min_tiles: int = 2
    max_tiles: int = 12
    tile_several: bool = True
    fit: Fit = Fit.SQUASH
    resample: Filter = Filter.BICUBIC
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Check that the numbers describe tiles.

        Raises:
            ConfigError: a patch or a number of tiles is impossible, a deviation is zero, or the
                connector joins frames.
        """
        check_numbers("image_frame_cat", size=self.size, patch=self.patch, std=self.std)
        if not 1 <= self.min_tiles <= self.max_tiles or self.frame_pool != 1:
            raise ConfigError(
                f"layout 'image_frame_cat': min_tiles is {self.min_tiles}, max_tiles "
                f"{self.max_tiles} and frame_pool {self.frame_pool}, expected 1 <= min_tiles <= "
                "max_tiles and a connector that joins no frames."
            )

    def plan(self, height: int, width: int, *, frames: int | None = None, media: int = 1) -> Plan:
        """Return five units for each block, for the overview, or for each frame."""
        side = self.size // self.patch
        rows = self.rows_per_unit or side * side
        one = Plan(units=JOINED, patches=(side, side), rows=rows, grid=rows_grid(rows))
        if frames is not None:
            return one.repeat(frames).with_learned(self.extra_rows)
        if media > 1 and not self.tile_several:
            return one.with_learned(self.extra_rows)
        down, across = tile_grid(
            height, width, size=self.size, least=self.min_tiles, most=self.max_tiles
        )
        high, wide = (down + 1) // 2, (across + 1) // 2
        blocks = high * wide + 1
        return Plan(
            units=JOINED * blocks,
            patches=(side, side),
            rows=blocks * rows,
            grid=rows_grid(rows, (high, wide)),
            tiles=(down, across),
            pieces=(rows,) * blocks,
        ).with_learned(self.extra_rows)

    def smaller(self, plan: Plan, height: int, width: int, *, media: int = 1) -> Plan | None:
        """Return the plan with fewer tiles, but no fewer than `min_tiles`."""
        fewer = plan.tiles[0] * plan.tiles[1] - 1
        if plan.pieces is None or fewer < self.min_tiles:
            return None
        found = replace(self, max_tiles=fewer).plan(height, width, media=media)
        return found if found.rows < plan.rows else None

    def units(self, frames: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn uint8 (N, H, W, 3) into float32 (U, 3, size, size)."""
        if plan.frames == 0 and plan.pieces is not None:
            tiles = self._blocks(frames[0], plan)
        else:
            squares = [
                to_square(pixels, self.size, fit=self.fit, resample=self.resample, mean=self.mean)
                for pixels in frames
            ]
            tiles = [square for square in squares for _ in range(JOINED)]
        return normalise_all(tiles, mean=self.mean, std=self.std)

    def _blocks(self, pixels: np.ndarray, plan: Plan) -> list[np.ndarray]:
        """Return every block and its tiles, and the overview five times."""
        size, (down, across) = self.size, plan.tiles
        high, wide = down + down % 2, across + across % 2
        colour = np.array([int(channel * 255) for channel in self.mean], dtype=np.uint8)
        canvas = np.broadcast_to(colour, (high * size, wide * size, 3)).copy()
        canvas[: down * size, : across * size] = resize(
            pixels, down * size, across * size, self.resample
        )
        tiles: list[np.ndarray] = []
        for block in cut(canvas, 2 * size):
            tiles += [resize(block, size, size, self.resample), *cut(block, size)]
        return tiles + [resize(canvas, size, size, self.resample)] * JOINED
