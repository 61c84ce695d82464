"""Change brightness, contrast, saturation and hue of a picture, or of all frames alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from hocket.data.augment import PixelAugmentation, augmentations
from hocket.data.augment._numbers import Share
from hocket.data.augment._pixels import adjust


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Colour(PixelAugmentation):
    """Four uniform draws, applied as one affine map of the colours and clipped once.

    Attributes:
        brightness: largest relative change of every channel.
        contrast: largest relative change of the distance from the mean luma.
        saturation: largest relative change of the distance from the pixel's own luma.
        hue: largest turn of the colours in both directions, as a share of the circle.
    """

    off: ClassVar[Mapping[str, Any]] = {
        "brightness": 0.0,
        "contrast": 0.0,
        "saturation": 0.0,
        "hue": 0.0,
    }
    brightness: Share = 0.3
    contrast: Share = 0.3
    saturation: Share = 0.3
    hue: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] = 0.03

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change uint8 (..., H, W, 3)."""
        return adjust(
            pixels,
            brightness=1 + rng.uniform(-self.brightness, self.brightness),
            contrast=1 + rng.uniform(-self.contrast, self.contrast),
            saturation=1 + rng.uniform(-self.saturation, self.saturation),
            hue=rng.uniform(-self.hue, self.hue),
        )
