"""A picture at one of several resolutions, cut into tiles behind an overview: LLaVA-1.6's anyres.

Of the grids the one that keeps most of the picture is taken, then the one that wastes least. The
picture is resized with its aspect, centred on black and cut row by row; the whole, squashed to one
tile, comes first. transformers' LlavaNext does the same. How the rows of the tiles become one
picture (`merge`) is what the arrangements `spatial` and `spatial_unpad` do.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from hocket._errors import ConfigError
from hocket.tokens.layout import layouts
from hocket.tokens.layout._pixels import (
    Filter,
    Fit,
    centre_on_black,
    check_numbers,
    cut,
    normalise_all,
    resize,
    rows_grid,
    to_square,
)
from hocket.tokens.span import Plan


class Merge(StrEnum):
    """How the rows of the tiles become the rows of the picture."""

    FLAT = "flat"
    SPATIAL = "spatial"
    UNPAD = "unpad"


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAnyres:
    """Show a picture as an overview and the tiles of the grid that suits it.

    Attributes:
        size: side of a tile in pixels.
        patch: side of an encoder patch in pixels.
        rows_per_unit: language-model rows of one tile, filled in from the connector.
        extra_rows: learned rows beside them for each medium, filled in from the connector.
        frame_pool: video frames that share their rows, filled in from the connector.
        after: texts behind the rows of each picture or frame, tokenised one by one.
        grids: grids to choose from, written columns x rows, such as ``2x1`` for a wide picture;
            the first of equally good ones is taken.
        merge: ``flat`` joins the tiles in order; ``spatial`` needs the arrangement of that name;
            ``unpad`` needs ``spatial_unpad``: rows that show padding are dropped, and a learned
            row ends each line.
        snap: count 35.99999999 lines as 36, as transformers' LlavaNext does and LLaVA-1.6 does not.
        fit: how a frame of a video, which is not cut, becomes square.
        resample: filter of the resize.
        mean: per-channel mean, subtracted after scaling to 0..1.
        std: per-channel standard deviation, divided by.
    """

    size: int = 336
    patch: int = 14
    rows_per_unit: int = 0
    extra_rows: int = 0
    frame_pool: int = 1
    after: tuple[str, ...] = ()
    grids: tuple[str, ...] = ("1x2", "2x1", "2x2", "3x1", "1x3")
    merge: Merge = Merge.FLAT
    snap: bool = False
    fit: Fit = Fit.SQUASH
    resample: Filter = Filter.BICUBIC
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        """Check that the numbers describe tiles.

        Raises:
            ConfigError: a patch or a grid is impossible, or a deviation is zero.
        """
        check_numbers("image_anyres", size=self.size, patch=self.patch, std=self.std)
        wrong = [grid for grid in self.grids if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", grid)]
        if wrong or not self.grids:
            raise ConfigError(
                f"layout 'image_anyres': grids is {list(self.grids)}, expected one or more, "
                "written columns x rows such as '2x1'."
            )

    def plan(self, height: int, width: int, *, frames: int | None = None, media: int = 1) -> Plan:
        """Return the overview and the tiles of a picture, or one unit for each frame.

        Raises:
            ConfigError: tiles are to be merged, and the connector's rows of a tile are no square.
        """
        side = self.size // self.patch
        rows = self.rows_per_unit or side * side
        if frames is not None:
            newline = int(self.merge is Merge.UNPAD)
            one = Plan(units=1, patches=(side, side), rows=rows + newline, grid=rows_grid(rows))
            return one.repeat(frames, pool=self.frame_pool).with_learned(self.extra_rows)
        down, across = self._grid(height, width)
        _, high, wide = rows_grid(rows, (down, across))
        shown = (1 + down * across) * rows
        if self.merge is not Merge.FLAT and math.isqrt(rows) ** 2 != rows:
            raise ConfigError(
                f"layout 'image_anyres': merge is '{self.merge}', but the connector makes {rows} "
                "rows of a tile, which are no square. Set merge to 'flat' or change the connector."
            )
        if self.merge is Merge.UNPAD:
            high, wide = self._unpadded(high, wide, height, width)
            shown = rows + high * (wide + 1)
        return Plan(
            units=1 + down * across,
            patches=(side, side),
            rows=shown,
            grid=(1, high, wide),
            tiles=(down, across),
        ).with_learned(self.extra_rows)

    def smaller(self, plan: Plan, height: int, width: int, *, media: int = 1) -> Plan | None:
        """Return the plan with the best of the grids that have fewer tiles."""
        tiles = plan.tiles[0] * plan.tiles[1]
        fewer = tuple(grid for grid in self.grids if _tiles(grid) < tiles)
        if not fewer:
            return None
        return replace(self, grids=fewer).plan(height, width, media=media)

    def units(self, frames: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn uint8 (N, H, W, 3) into float32 (U, 3, size, size), the overview first."""
        if plan.units == len(frames):
            squares = [
                to_square(pixels, self.size, fit=self.fit, resample=self.resample, mean=self.mean)
                for pixels in frames
            ]
        else:
            squares = self._tiles(frames[0], plan)
        return normalise_all(squares, mean=self.mean, std=self.std)

    def _tiles(self, pixels: np.ndarray, plan: Plan) -> list[np.ndarray]:
        """Return the overview and the tiles, uint8 (size, size, 3) each."""
        high, wide = plan.tiles[0] * self.size, plan.tiles[1] * self.size
        height, width = _inside(pixels.shape[0], pixels.shape[1], high, wide)
        resized = resize(pixels, height, width, self.resample)
        whole = resize(pixels, self.size, self.size, self.resample)
        return [whole, *cut(centre_on_black(resized, high, wide), self.size)]

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the (rows, columns) of the tiles of a picture."""
        best, most = (1, 1), (-1, 0)
        for grid in self.grids:
            across, down = _sides(grid)
            wide, high = across * self.size, down * self.size
            scale = min(wide / width, high / height)
            kept = min(int(width * scale) * int(height * scale), width * height)
            merit = (kept, kept - wide * high)
            if merit > most:
                best, most = (down, across), merit
        return best

    def _unpadded(self, high: int, wide: int, height: int, width: int) -> tuple[int, int]:
        """Return the lines and columns that show the picture, dropped alike on both sides."""
        if width / height > wide / high:
            return high - 2 * ((high - self._whole(height * (wide / width))) // 2), wide
        return high, wide - 2 * ((wide - self._whole(width * (high / height))) // 2)

    def _whole(self, lines: float) -> int:
        return int(round(lines, 7) if self.snap else lines)


def _sides(grid: str) -> tuple[int, int]:
    """Return the (columns, rows) of a grid."""
    across, down = grid.split("x")
    return int(across), int(down)


def _tiles(grid: str) -> int:
    return math.prod(_sides(grid))


def _inside(height: int, width: int, high: int, wide: int) -> tuple[int, int]:
    """Return the (height, width) that fills a frame (high, wide) in one direction."""
    across, down = wide / width, high / height
    if across < down:
        return min(math.ceil(height * across), high), wide
    return high, min(math.ceil(width * down), wide)
