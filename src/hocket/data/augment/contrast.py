"""Change contrast and brightness of a picture, or of all frames of a video alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hocket.data.augment import PixelAugmentation, augmentations
from hocket.data.augment._numbers import Share


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Contrast(PixelAugmentation):
    """Multiply around the middle grey, then add.

    Attributes:
        contrast: largest relative change of the contrast.
        brightness: largest change of the brightness, as a share of the full range.
    """

    off: ClassVar[Mapping[str, Any]] = {"contrast": 0.0, "brightness": 0.0}
    contrast: Share = 0.2
    brightness: Share = 0.1

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change uint8 (..., H, W, 3)."""
        gain = 1 + rng.uniform(-self.contrast, self.contrast)
        offset = 255 * rng.uniform(-self.brightness, self.brightness)
        table = np.clip((np.arange(256) - 128) * gain + 128 + offset, 0, 255).astype(np.uint8)
        return table[pixels]
