"""Cover a random box of a picture, or the same box of all frames: random erasing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from hocket.data.augment import PixelAugmentation, augmentations
from hocket.data.augment._numbers import Count, Share, Stretch, check_order
from hocket.data.augment._pixels import draw_box, mean_colour


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Erase(PixelAugmentation):
    """Boxes of noise or of one colour, the same in all frames.

    Attributes:
        chance: share of the media that get boxes.
        boxes: boxes in each of them.
        low_area: smallest share of the area under a box.
        high_area: largest share of the area under a box.
        aspect: largest stretch of a box against the picture's own shape, either way.
        fill: ``noise`` for random pixels, ``mean`` for the medium's mean colour, or ``black``.
    """

    off: ClassVar[Mapping[str, Any]] = {"chance": 0.0}
    chance: Share = 0.5
    boxes: Count = 1
    low_area: Share = 0.02
    high_area: Share = 0.2
    aspect: Stretch = 3.0
    fill: Literal["noise", "mean", "black"] = "noise"

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ConfigError: its lower end is above the upper one.
        """
        check_order("erase", low_area=self.low_area, high_area=self.high_area)

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change uint8 (..., H, W, 3)."""
        if rng.random() >= self.chance:
            return pixels
        height, width = pixels.shape[-3:-1]
        erased = pixels.copy()
        for _ in range(self.boxes):
            area = (self.low_area, self.high_area)
            top, left, rows, columns = draw_box(rng, height, width, area=area, aspect=self.aspect)
            bottom, right = int(top + rows), int(left + columns)
            box = (..., slice(int(top), bottom), slice(int(left), right), slice(None))
            erased[box] = self._cover(pixels, rng, bottom - int(top), right - int(left))
        return erased

    def _cover(
        self, pixels: np.ndarray, rng: np.random.Generator, rows: int, columns: int
    ) -> np.ndarray:
        """Return uint8 that fits (..., rows, columns, 3)."""
        if self.fill == "noise":
            return rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        if self.fill == "black":
            return np.zeros(3, np.uint8)
        return np.rint(mean_colour(pixels)).astype(np.uint8)
