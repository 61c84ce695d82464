"""A picture cut into as many square tiles as suit its shape, with an overview of the whole.

InternVL's dynamic tiling, as VITA-1.5 and VILA 2 have it: the picture is resized to the grid of
tiles whose shape is nearest, cut row by row, and shown once more as a whole where there is more
than one tile. Every frame of a video is one tile, or is tiled like a picture, as VILA 2 may do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from hocket._errors import ConfigError
from hocket.tokens.layout import layouts
from hocket.tokens.layout._film import check_sides, film_plan, read_pools
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


class Overview(StrEnum):
    """Where the whole picture stands among its tiles."""

    NONE = "none"
    FIRST = "first"
    LAST = "last"


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTiles:
    """Cut a picture into tiles of the encoder's size.

    Attributes:
        size: side of a tile in pixels.
        patch: side of an encoder patch in pixels.
        rows_per_unit: language-model rows of one tile, filled in from the connector.
        extra_rows: learned rows beside them for each medium, filled in from the connector.
        frame_pool: video frames that share their rows, filled in from the connector.
        turns: sides of the squares of rows that frames of a video become, by turns, as in the
            arrangement ``slow_fast``; empty keeps `rows_per_unit`.
        budget: rows that frames share out instead, as there; 0 for none.
        pools: frames x height x width that are averaged, as in the arrangement ``pyramid``.
        pool_after: texts behind all rows of each of the pools, tokenised one by one.
        before: texts in front of the rows of each tile or frame, tokenised one by one.
        after: texts behind the rows of each tile or frame, tokenised one by one.
        tile_after: further texts behind each tile of a picture that may be tiled, be it one tile:
            VILA 2 writes its placeholder and a line end for each.
        min_tiles: fewest tiles of a picture, the overview not counted.
        max_tiles: most tiles of a picture, the overview not counted.
        frame_tiles: most tiles of a frame, the overview not counted; each tile then counts as a
            frame. 1 keeps frames whole.
        overview: where the whole picture stands among its tiles.
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
    turns: tuple[int, ...] = ()
    budget: int = 0
    pools: tuple[str, ...] = ()
    pool_after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    tile_after: tuple[str, ...] = ()
    min_tiles: int = 1
    max_tiles: int = 12
    frame_tiles: int = 1
    overview: Overview = Overview.LAST
    tile_several: bool = True
    fit: Fit = Fit.SQUASH
    resample: Filter = Filter.BICUBIC
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Check that the numbers describe tiles.

        Raises:
            ConfigError: a patch or a number of tiles is impossible, or a deviation is zero.
        """
        check_sides("layout 'image_tiles'", turns=self.turns, budget=self.budget)
        read_pools("layout 'image_tiles'", self.pools)
        check_numbers("image_tiles", size=self.size, patch=self.patch, std=self.std)
        if not 1 <= self.min_tiles <= self.max_tiles:
            raise ConfigError(
                f"layout 'image_tiles': min_tiles is {self.min_tiles} and max_tiles is "
                f"{self.max_tiles}, expected 1 <= min_tiles <= max_tiles."
            )
        if self.frame_tiles < 1:
            raise ConfigError(
                f"layout 'image_tiles': frame_tiles is {self.frame_tiles}, expected 1 or more."
            )

    def plan(self, height: int, width: int, *, frames: int | None = None, media: int = 1) -> Plan:
        """Return the tiles of a picture, or those of each frame."""
        side = self.size // self.patch
        rows = self.rows_per_unit or side * side
        one = Plan(
            units=1, patches=(side, side), rows=rows, grid=rows_grid(rows), front=self.before
        )
        if frames is not None:
            return self._film(one, height, width, frames).with_learned(self.extra_rows)
        if media > 1 and not self.tile_several:
            return one.with_learned(self.extra_rows)
        tiles = self._grid(height, width, self.max_tiles)
        units = self._count(tiles)
        plan = replace(
            one,
            units=units,
            rows=units * rows,
            grid=rows_grid(rows, tiles),
            tiles=tiles,
            pieces=(rows,) * units,
            behind=self.tile_after,
        )
        return plan.with_learned(self.extra_rows)

    def _film(self, one: Plan, height: int, width: int, frames: int) -> Plan:
        tiles = (1, 1)
        if self.frame_tiles > 1:
            tiles = self._grid(height, width, self.frame_tiles)
        film = film_plan(
            one,
            frames * self._count(tiles),
            pool=self.frame_pool,
            turns=self.turns,
            budget=self.budget,
            pools=read_pools("layout", self.pools),
            pool_after=self.pool_after,
        )
        return replace(film, tiles=tiles)

    def _grid(self, height: int, width: int, most: int) -> tuple[int, int]:
        return tile_grid(height, width, size=self.size, least=self.min_tiles, most=most)

    def _count(self, tiles: tuple[int, int]) -> int:
        """Return the tiles of a picture with the overview."""
        count = tiles[0] * tiles[1]
        return count + (count > 1 and self.overview is not Overview.NONE)

    def smaller(self, plan: Plan, height: int, width: int, *, media: int = 1) -> Plan | None:
        """Return the plan with fewer tiles, but no fewer than `min_tiles`."""
        fewer = plan.tiles[0] * plan.tiles[1] - 1
        if plan.pieces is None or fewer < self.min_tiles:
            return None
        return replace(self, max_tiles=fewer).plan(height, width, media=media)

    def units(self, frames: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn uint8 (N, H, W, 3) into float32 (U, 3, size, size)."""
        # Only a picture that was tiled has pieces without frames, be it a single tile.
        tiled = self.frame_tiles > 1 if plan.frames else plan.pieces is not None
        if tiled:
            tiles = [tile for pixels in frames for tile in self._tiles(pixels, plan)]
        else:
            tiles = [
                to_square(pixels, self.size, fit=self.fit, resample=self.resample, mean=self.mean)
                for pixels in frames
            ]
        return normalise_all(tiles, mean=self.mean, std=self.std)

    def _tiles(self, pixels: np.ndarray, plan: Plan) -> list[np.ndarray]:
        """Return the tiles and the overview, uint8 (size, size, 3) each."""
        size, (down, across) = self.size, plan.tiles
        tiles = list(cut(resize(pixels, down * size, across * size, self.resample), size))
        if len(tiles) == 1 or self.overview is Overview.NONE:
            return tiles
        whole = [resize(pixels, size, size, self.resample)]
        return whole + tiles if self.overview is Overview.FIRST else tiles + whole
