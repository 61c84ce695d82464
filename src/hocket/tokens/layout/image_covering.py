"""A picture behind an overview, in as few tiles as show nearly all of its detail: Ovis 2's grid.

A grid's cell is shown smaller where it is larger than a tile, so a grid covers the share of the
picture's area that its cells keep. Of the grids that cover enough the one with the fewest tiles is
taken. Ovis 2 cuts the picture into cells and fits each into a tile, with the mean colour around it;
transformers' class resizes the picture to the grid and cuts it then.

Marks stand before, between and behind the tiles; the arrangement ``tile_marks`` makes their rows.

Letters: N frames or tiles, S side of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from hocket._errors import ConfigError
from hocket.tokens.layout import layouts
from hocket.tokens.layout._pixels import (
    Filter,
    Fit,
    check_numbers,
    cut,
    normalise,
    resize,
    rows_grid,
)
from hocket.tokens.layout._tiling import tile_grid
from hocket.tokens.span import Plan

# Begin, end of the whole picture, between columns, between lines, end.
MARKS = 5


class Choice(StrEnum):
    """By what a grid is chosen."""

    COVERING = "covering"
    NEAREST = "nearest"


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCovering:
    """Cut a picture into as few tiles as cover it, with marks around them.

    Attributes:
        size: side of a tile in pixels.
        patch: side of an encoder patch in pixels.
        rows_per_unit: language-model rows of one tile, filled in from the connector.
        extra_rows: learned rows beside them for each medium, filled in from the connector.
        frame_pool: video frames that share their rows, filled in from the connector; always 1.
        frame_between: texts between the frames of a video, tokenised one by one.
        after: texts behind the rows of each picture or frame, tokenised one by one.
        choice: ``covering`` for Ovis 2's rule, ``nearest`` for the grid of the nearest shape.
        cover: share of the area that a grid must cover to be enough.
        min_tiles: fewest tiles of a picture where the nearest shape counts.
        max_tiles: most tiles of a picture, the overview not counted.
        swap: whether the chosen grid's lines are taken for columns, as transformers' class does.
        fit: ``pad`` fits every cell into its tile, ``squash`` resizes the picture to the grid.
        resample: filter of the resize.
        mean: per-channel mean, subtracted after scaling to 0..1.
        std: per-channel standard deviation, divided by.
    """

    size: int = 448
    patch: int = 14
    rows_per_unit: int = 0
    extra_rows: int = 0
    frame_pool: int = 1
    frame_between: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    choice: Choice = Choice.COVERING
    cover: float = 0.9
    min_tiles: int = 1
    max_tiles: int = 9
    swap: bool = False
    fit: Fit = Fit.PAD
    resample: Filter = Filter.BICUBIC
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        """Check that the numbers describe tiles.

        Raises:
            ConfigError: an option is impossible.
        """
        check_numbers("image_covering", size=self.size, patch=self.patch, std=self.std)
        if not 1 <= self.min_tiles <= self.max_tiles:
            raise ConfigError(
                f"layout 'image_covering': min_tiles is {self.min_tiles} and max_tiles is "
                f"{self.max_tiles}, expected 1 <= min_tiles <= max_tiles."
            )
        if self.fit is Fit.CROP or not 0 < self.cover < 1:
            raise ConfigError(
                f"layout 'image_covering': fit is '{self.fit}' and cover is {self.cover}, expected "
                "pad or squash, and a share between 0 and 1."
            )

    def plan(self, height: int, width: int, *, frames: int | None = None, media: int = 1) -> Plan:
        """Return the overview and the tiles of a picture, or one tile for each frame.

        Raises:
            ConfigError: the connector lets frames share rows, which have marks of their own here.
        """
        if self.frame_pool != 1:
            raise ConfigError(
                f"layout 'image_covering': the connector joins {self.frame_pool} frames, which "
                "must be 1, since each has its marks. Choose another connector."
            )
        side = self.size // self.patch
        rows = self.rows_per_unit or side * side
        if frames is not None:
            one = rows + count_marks(1)
            single = Plan(units=1, patches=(side, side), rows=one, grid=rows_grid(rows))
            film = single.repeat(frames).with_learned(self.extra_rows)
            return replace(film, runs=(1,) * (frames - 1), closing=self.frame_between)
        down, across = self._grid(height, width)
        units = 1 if down * across == 1 else 1 + down * across
        return Plan(
            units=units,
            patches=(side, side),
            rows=units * rows + count_marks(down * across),
            grid=rows_grid(rows, (down, across)),
            tiles=(down, across),
        ).with_learned(self.extra_rows)

    def smaller(self, plan: Plan, height: int, width: int, *, media: int = 1) -> Plan | None:
        """Return the plan with fewer tiles, but no fewer than `min_tiles`."""
        fewer = plan.tiles[0] * plan.tiles[1] - 1
        if fewer < self.min_tiles:
            return None
        return replace(self, max_tiles=fewer).plan(height, width, media=media)

    def units(self, frames: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn uint8 (N, H, W, 3) into float32 (U, 3, size, size)."""
        if len(frames) > 1 or plan.units == 1:
            return np.stack([self._fitted(pixels) for pixels in frames])
        return np.stack([self._fitted(frames[0]), *self._tiles(frames[0], plan.tiles)])

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the (rows, columns) of the tiles of a picture."""
        if self.choice is Choice.NEAREST:
            least, most = self.min_tiles, self.max_tiles
            return tile_grid(height, width, size=self.size, least=least, most=most)
        down, across = covering_grid(
            height, width, size=self.size, most=self.max_tiles, enough=self.cover
        )
        return (across, down) if self.swap else (down, across)

    def _tiles(self, pixels: np.ndarray, grid: tuple[int, int]) -> Iterator[np.ndarray]:
        """Yield float32 (3, S, S), row by row."""
        if self.fit is Fit.SQUASH:
            down, across = grid
            whole = resize(pixels, down * self.size, across * self.size, self.resample)
            yield from (self._fitted(tile) for tile in cut(whole, self.size))
            return
        height, width = pixels.shape[:2]
        for top, left, bottom, right in _cells(height, width, grid):
            yield self._fitted(pixels[top:bottom, left:right])

    def _fitted(self, pixels: np.ndarray) -> np.ndarray:
        """Return a part of a picture as float32 (3, S, S)."""
        height, width = pixels.shape[:2]
        high = wide = self.size
        if self.fit is Fit.PAD:
            high = max(1, int(height / width * wide)) if width > height else high
            wide = max(1, int(width / height * high)) if height > width else wide
        pixels = resize(np.ascontiguousarray(pixels), high, wide, self.resample)
        shown = normalise(pixels, mean=self.mean, std=self.std)
        return _centred(shown, self.size)


def covering_grid(
    height: int, width: int, *, size: int, most: int, enough: float
) -> tuple[int, int]:
    """Return the (rows, columns) of the fewest tiles that cover enough of a picture.

    Where no grid covers enough, the one that covers most is taken. Of several with as many tiles
    the one that covers more comes first, then the one with fewer rows.

    Args:
        height: height in pixels.
        width: width in pixels.
        size: side of a tile in pixels.
        most: most tiles.
        enough: share of the area above which a grid covers enough.
    """
    shares = {
        (down, across): _share(height, width, (down, across), size)
        for down in range(1, most + 1)
        for across in range(1, most // down + 1)
    }
    good = [grid for grid, share in shares.items() if share > enough]
    if good:
        return min(good, key=lambda grid: (grid[0] * grid[1], -shares[grid]))
    return min(shares, key=lambda grid: (-shares[grid], grid[0] * grid[1]))


def count_marks(tiles: int) -> int:
    """Return the marks of a picture: three, and one between every two tiles of a grid."""
    return 3 + max(0, tiles - 1)


def _share(height: int, width: int, grid: tuple[int, int], size: int) -> float:
    """Return the share of a picture's area that is left when each cell is no longer than a tile."""
    kept = 0.0
    for top, left, bottom, right in _cells(height, width, grid):
        long, short = max(right - left, bottom - top), min(right - left, bottom - top)
        # In this order, for the same last bit as the original's.
        kept += size * (short / long * size) if long > size else long * short
    return kept / (width * height)


def _cells(height: int, width: int, grid: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield cells row by row as (top, left, bottom, right); the last ones take the rest."""
    down, across = grid
    high, wide = height // down, width // across
    for row in range(down):
        bottom = height if row == down - 1 else (row + 1) * high
        for column in range(across):
            right = width if column == across - 1 else (column + 1) * wide
            yield row * high, column * wide, bottom, right


def _centred(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return (3, S, S) with float32 (3, H, W) in the middle and zeros, the mean colour, around."""
    _, height, width = pixels.shape
    if (height, width) == (size, size):
        return pixels
    square = np.zeros((3, size, size), dtype=np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    square[:, top : top + height, left : left + width] = pixels
    return square
