"""LLaVA-OneVision's pictures: LLaVA-1.6's tiles with a limit on rows, and small frames.

As the layout ``image_anyres`` with ``merge: unpad``, with three differences: a picture whose map is
larger than `max_maps` maps of a tile is made smaller, pictures that share a sample are one tile
each, and a video has half as many rows along each side of a frame and one learned row at its end.
For the arrangement ``onevision``, which needs the same `max_maps`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hocket._errors import ConfigError
from hocket.tokens.layout import layouts
from hocket.tokens.layout._pixels import Filter, Fit, rows_grid
from hocket.tokens.layout.image_anyres import ImageAnyres, Merge
from hocket.tokens.span import Plan

# A map that is only a little too large stays as it is.
_MARGIN = 1.1


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOnevision(ImageAnyres):
    """Show a picture as an overview and tiles, and a video as small frames.

    Attributes:
        size: side of a tile in pixels.
        patch: side of an encoder patch in pixels.
        rows_per_unit: language-model rows of one tile, filled in from the connector.
        extra_rows: learned rows beside them for each medium, filled in from the connector.
        frame_pool: video frames that share their rows, filled in from the connector; always 1.
        after: texts behind the rows of each picture or video, tokenised one by one.
        grids: grids to choose from, written columns x rows.
        merge: always ``unpad``.
        snap: count 35.99999999 lines as 36, as transformers does.
        fit: how what is not cut becomes square.
        resample: filter of the resize.
        mean: per-channel mean, subtracted after scaling to 0..1.
        std: per-channel standard deviation, divided by.
        max_maps: how many maps of a tile the map of a picture may be as large as; the 9 of
            ``anyres_max_9``.
    """

    size: int = 384
    grids: tuple[str, ...] = tuple(f"{wide}x{high}" for high in range(1, 7) for wide in range(1, 7))
    merge: Merge = Merge.UNPAD
    snap: bool = True
    fit: Fit = Fit.SQUASH
    resample: Filter = Filter.BICUBIC
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    max_maps: int = 9

    def __post_init__(self) -> None:
        """Check that the numbers describe tiles.

        Raises:
            ConfigError: an option of ``image_anyres`` is impossible, or has no counterpart here.
        """
        # Not super(): a dataclass with slots is another class than the one its methods know.
        ImageAnyres.__post_init__(self)
        if self.max_maps < 1 or self.merge is not Merge.UNPAD:
            raise ConfigError(
                f"layout 'image_onevision': max_maps is {self.max_maps} and merge is "
                f"'{self.merge}', expected 1 or more and 'unpad'."
            )

    def plan(self, height: int, width: int, *, frames: int | None = None, media: int = 1) -> Plan:
        """Return the overview and the tiles of a picture, or one unit for each frame.

        The plan's grid is the map before it is made smaller.

        Raises:
            ConfigError: the connector's rows of a tile are no square, or frames share rows.
        """
        side = self.size // self.patch
        rows = self.rows_per_unit or side * side
        if frames is not None or media > 1:
            return self._single(frames, rows)
        plan = ImageAnyres.plan(self, height, width)
        _, high, wide = plan.grid
        low, narrow = shrunk(high, wide, rows=rows, most=self.max_maps)
        return replace(plan, rows=plan.rows - high * (wide + 1) + low * (narrow + 1))

    def _single(self, frames: int | None, rows: int) -> Plan:
        """Return the plan of one tile, or of frames."""
        side = math.isqrt(rows)
        if side * side != rows or self.frame_pool != 1:
            raise ConfigError(
                f"layout 'image_onevision': the connector makes {rows} rows of a tile, which must "
                f"be a square, and joins {self.frame_pool} frames, which must be 1. Change it."
            )
        grid = rows_grid(rows)
        if frames is not None:
            grid = (frames, -(-side // 2), -(-side // 2))
        patches = (self.size // self.patch,) * 2
        return Plan(
            units=frames or 1,
            patches=patches,
            rows=math.prod(grid) + 1,
            grid=grid,
            frames=frames or 0,
        ).with_learned(self.extra_rows)


def shrunk(high: int, wide: int, *, rows: int, most: int) -> tuple[int, int]:
    """Return the lines and columns of a map that is made smaller where it is too large.

    Args:
        high: lines of the map.
        wide: columns of the map.
        rows: rows of one tile.
        most: how many times as many rows the map may have.
    """
    ratio = math.sqrt(high * wide / (most * rows))
    if ratio <= _MARGIN:
        return high, wide
    return int(high // ratio), int(wide // ratio)
