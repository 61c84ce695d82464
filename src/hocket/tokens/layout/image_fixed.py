"""One picture, one square unit: squash, crop or pad to the encoder's size.

``squash`` is SigLIP's preprocessing and VILA's ``resize``, ``crop`` is CLIP's, ``pad`` is
LLaVA-1.5's (``image_aspect_ratio=pad``: a square filled with the mean colour, then CLIP's).
An encoder that reads several scales (S2) takes the square of the largest one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hocket._errors import ConfigError
from hocket.tokens.layout import layouts
from hocket.tokens.layout._film import check_sides, film_plan, read_pools
from hocket.tokens.layout._pixels import (
    Filter,
    Fit,
    check_numbers,
    normalise_all,
    rows_grid,
    to_square,
)
from hocket.tokens.span import Plan


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFixed:
    """Resize every picture to one square.

    Attributes:
        size: side of the square in pixels.
        patch: side of an encoder patch in pixels.
        side: patches along a side where that is not ``size // patch``, as the scales of S2 may
            have it; 0 otherwise.
        rows_per_unit: language-model rows of one picture, filled in from the connector.
        extra_rows: learned rows beside them for each medium, filled in from the connector.
        frame_pool: video frames that share their rows, filled in from the connector.
        turns: sides of the squares of rows that frames of a video become, by turns, as in the
            arrangement ``slow_fast``; empty keeps `rows_per_unit`.
        budget: rows that frames share out instead, as there; 0 for none.
        pools: frames x height x width that are averaged, as in the arrangement ``pyramid``.
        pool_after: texts behind all rows of each of the pools, tokenised one by one.
        before: texts in front of the rows of each picture or frame, tokenised one by one.
        after: texts behind the rows of each picture or frame, tokenised one by one.
        fit: how a picture that is not square becomes square.
        resample: filter of the resize.
        mean: per-channel mean, subtracted after scaling to 0..1.
        std: per-channel standard deviation, divided by.
    """

    size: int = 224
    patch: int = 14
    side: int = 0
    rows_per_unit: int = 0
    extra_rows: int = 0
    frame_pool: int = 1
    turns: tuple[int, ...] = ()
    budget: int = 0
    pools: tuple[str, ...] = ()
    pool_after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    fit: Fit = Fit.SQUASH
    resample: Filter = Filter.BICUBIC
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        """Check that the numbers describe pictures.

        Raises:
            ConfigError: a patch is empty or larger than the picture, or a deviation is zero.
        """
        check_sides("layout 'image_fixed'", turns=self.turns, budget=self.budget)
        read_pools("layout 'image_fixed'", self.pools)
        check_numbers("image_fixed", size=self.size, patch=self.patch, std=self.std)
        if self.side < 0:
            raise ConfigError(f"layout 'image_fixed': side is {self.side}, expected 0 or more.")

    def plan(self, height: int, width: int, *, frames: int | None = None, media: int = 1) -> Plan:
        """Return one unit per picture or frame, whatever its size."""
        side = self.side or self.size // self.patch
        rows = self.rows_per_unit or side * side
        one = Plan(units=1, patches=(side, side), rows=rows, grid=rows_grid(rows))
        plan = one
        if frames is not None:
            plan = film_plan(
                one,
                frames,
                pool=self.frame_pool,
                turns=self.turns,
                budget=self.budget,
                pools=read_pools("layout", self.pools),
                pool_after=self.pool_after,
            )
        return replace(plan, front=self.before).with_learned(self.extra_rows)

    def smaller(self, plan: Plan, height: int, width: int, *, media: int = 1) -> Plan | None:
        """Return None: there is one size."""
        return None

    def units(self, frames: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn uint8 (N, H, W, 3) into float32 (N, 3, size, size)."""
        squares = (
            to_square(pixels, self.size, fit=self.fit, resample=self.resample, mean=self.mean)
            for pixels in frames
        )
        return normalise_all(squares, mean=self.mean, std=self.std)
