"""Move a picture, or all frames of a video alike, by a few pixels; the edge is repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hocket.data.augment import PixelAugmentation, augmentations
from hocket.data.augment._numbers import Share


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Shift(PixelAugmentation):
    """Uniform shift in both directions.

    Attributes:
        share: largest shift as a share of the side.
    """

    off: ClassVar[Mapping[str, Any]] = {"share": 0.0}
    share: Share = 0.06

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Shift uint8 (..., H, W, 3)."""
        height, width = pixels.shape[-3:-1]
        down = round(rng.uniform(-self.share, self.share) * height)
        right = round(rng.uniform(-self.share, self.share) * width)
        rows = np.clip(np.arange(height) - down, 0, height - 1)
        columns = np.clip(np.arange(width) - right, 0, width - 1)
        return pixels[..., rows[:, None], columns[None, :], :]
