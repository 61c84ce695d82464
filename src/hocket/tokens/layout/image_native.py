"""A picture at its own resolution, as blocks of patches: Ovis 2.5's and Qwen2-VL's smart resize.

Both sides are rounded to whole cells of ``patch * stride`` pixels and kept inside a budget of
pixels. A unit is one merged cell: the patches of a square of `stride`, row by row, each flattened
as (channel, frame, row, column). All frames of a video take the size of the first; where frames
are no multiple of `temporal_patch`, the last one is repeated.

Letters: U cells, P patches of a cell, K values of a patch, N frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from einops import rearrange

from hocket._errors import ConfigError
from hocket.tokens.layout import layouts
from hocket.tokens.layout._pixels import Filter, check_numbers, normalise, resize
from hocket.tokens.span import Plan

_LONGEST_ASPECT = 200


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNative:
    """Resize a picture as little as its budget allows and cut it into cells.

    Attributes:
        patch: side of an encoder patch in pixels.
        stride: patches along a side of a cell, which the encoder's features merge.
        temporal_patch: frames of one patch.
        rows_per_unit: language-model rows of one cell, filled in from the connector.
        extra_rows: learned rows beside them for each medium, filled in from the connector.
        frame_pool: always 1: cells of different frames share no rows.
        after: texts behind the rows of each medium, tokenised one by one.
        min_pixels: fewest pixels of a picture that is alone in its sample.
        max_pixels: most pixels of a picture that is alone in its sample.
        several_min_pixels: fewest pixels of each of several pictures.
        several_max_pixels: most pixels of each of several pictures; -1 shares `max_pixels` among
            them.
        video_min_pixels: fewest pixels of a frame.
        video_max_pixels: most pixels of a frame.
        resample: filter of the resize.
        mean: per-channel mean, subtracted after scaling to 0..1.
        std: per-channel standard deviation, divided by.
    """

    patch: int = 16
    stride: int = 2
    temporal_patch: int = 1
    rows_per_unit: int = 0
    extra_rows: int = 0
    frame_pool: int = 1
    after: tuple[str, ...] = ()
    min_pixels: int = 448 * 448
    max_pixels: int = 1792 * 1344
    several_min_pixels: int = 448 * 448
    several_max_pixels: int = 448 * 448
    video_min_pixels: int = 448 * 448
    video_max_pixels: int = 448 * 448
    resample: Filter = Filter.BILINEAR
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        """Check that the numbers describe cells.

        Raises:
            ConfigError: a side or a budget is impossible, or a deviation is zero.
        """
        check_numbers("image_native", size=self.patch, patch=self.patch, std=self.std)
        if min(self.stride, self.temporal_patch) < 1 or self.frame_pool != 1:
            raise ConfigError(
                f"layout 'image_native': stride {self.stride}, temporal_patch "
                f"{self.temporal_patch}, frame_pool {self.frame_pool}; expected 1 or more, and 1 "
                "for frame_pool."
            )
        for name, least, most in (
            ("", self.min_pixels, self.max_pixels),
            ("several_", self.several_min_pixels, self.several_max_pixels),
            ("video_", self.video_min_pixels, self.video_max_pixels),
        ):
            shared = name == "several_" and most == -1
            if least < 1 or not (shared or least <= most):
                raise ConfigError(
                    f"layout 'image_native': {name}min_pixels is {least} and {name}max_pixels is "
                    f"{most}, expected 1 <= minimum <= maximum."
                )

    def plan(self, height: int, width: int, *, frames: int | None = None, media: int = 1) -> Plan:
        """Return the cells of a picture or of all frames."""
        least, most = self.min_pixels, self.max_pixels
        if frames is not None:
            least, most = self.video_min_pixels, self.video_max_pixels
        elif media > 1:
            shared = self.several_max_pixels == -1
            least = self.several_min_pixels
            most = self.max_pixels // media if shared else self.several_max_pixels
        cell = self.patch * self.stride
        high, wide = smart_size(height, width, cell=cell, least=least, most=most)
        grid = (-(-(frames or 1) // self.temporal_patch), high // cell, wide // cell)
        cells = math.prod(grid)
        return Plan(
            units=cells,
            patches=(self.stride, self.stride),
            rows=cells * (self.rows_per_unit or self.stride**2),
            grid=grid,
            frames=frames or 0,
        ).with_learned(self.extra_rows)

    def smaller(self, plan: Plan, height: int, width: int, *, media: int = 1) -> Plan | None:
        """Return the plan of a quarter fewer cells, but no fewer pixels than the layout's least."""
        cell = self.patch * self.stride
        least = self.several_min_pixels if media > 1 else self.min_pixels
        most = max(least, math.prod(plan.grid) * cell * cell * 3 // 4)
        budget = replace(
            self,
            min_pixels=least,
            max_pixels=most,
            several_min_pixels=least,
            several_max_pixels=most,
        )
        found = budget.plan(height, width, media=media)
        return found if found.rows < plan.rows and min(found.grid) > 0 else None

    def units(self, frames: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn uint8 (N, H, W, 3) into float32 (U, P, K)."""
        cell = self.patch * self.stride
        steps, down, across = plan.grid
        resized = [resize(one, down * cell, across * cell, self.resample) for one in frames]
        images = [normalise(one, mean=self.mean, std=self.std) for one in resized]
        images += images[-1:] * (steps * self.temporal_patch - len(images))
        return rearrange(
            np.stack(images),
            "(t f) c (y a p) (x b q) -> (t y x) (a b) (c f p q)",
            f=self.temporal_patch,
            a=self.stride,
            b=self.stride,
            p=self.patch,
            q=self.patch,
        )


def smart_size(height: int, width: int, *, cell: int, least: int, most: int) -> tuple[int, int]:
    """Return the (height, width) that a picture is resized to, in whole cells.

    Args:
        height: height in pixels.
        width: width in pixels.
        cell: side of a cell in pixels.
        least: fewest pixels.
        most: most pixels.
    """
    short, long = min(height, width), max(height, width)
    if short < cell:
        height, width = round(height * cell / short), round(width * cell / short)
    elif long > _LONGEST_ASPECT * short:
        height, width = min(height, _LONGEST_ASPECT * short), min(width, _LONGEST_ASPECT * short)
    # Halves are rounded to even numbers, as the original does.
    high, wide = round(height / cell) * cell, round(width / cell) * cell
    if high * wide > most:
        shrink = math.sqrt(height * width / most)
        return math.floor(height / shrink / cell) * cell, math.floor(width / shrink / cell) * cell
    if high * wide < least:
        grow = math.sqrt(least / (height * width))
        return math.ceil(height * grow / cell) * cell, math.ceil(width * grow / cell) * cell
    return high, wide
