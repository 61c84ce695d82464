"""Turn a picture, or all frames of a video alike, about its centre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hocket.chat.conversation import Conversation
from hocket.data.augment import PixelAugmentation, augmentations
from hocket.data.augment._numbers import Colour, NotNegative
from hocket.data.augment._pixels import MEAN, turned, warp
from hocket.data.augment._sides import gives_coordinates


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Rotate(PixelAugmentation):
    """Uniform angle, bilinear; samples that give coordinates are left alone.

    Attributes:
        degrees: largest angle in both directions.
        fill: red, green and blue of the corners that come from outside.
    """

    off: ClassVar[Mapping[str, Any]] = {"degrees": 0.0}
    degrees: NotNegative = 10.0
    fill: Colour = MEAN

    def accepts(self, conversation: Conversation | None) -> bool:
        """Return whether no text gives coordinates, which would become wrong."""
        return conversation is None or not gives_coordinates(conversation)

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change uint8 (..., H, W, 3)."""
        angle = rng.uniform(-self.degrees, self.degrees)
        return warp(pixels, turned(angle), fill=self.fill)
