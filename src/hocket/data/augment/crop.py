"""Show a random part of a picture, or of all frames of a video, at the size of the whole.

The method is the random resized crop of Inception's training. The result keeps height and width,
because the rows of the picture are planned from its header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image as Pil

from hocket.chat.conversation import Conversation
from hocket.data.augment import PixelAugmentation, augmentations
from hocket.data.augment._numbers import Share, Stretch, check_order
from hocket.data.augment._pixels import draw_box, each_frame
from hocket.data.augment._sides import gives_coordinates


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Crop(PixelAugmentation):
    """Cut out a box and resize it, bicubic; samples that give coordinates are left alone.

    Attributes:
        low_area: smallest share of the area that stays.
        high_area: largest share of the area that stays.
        aspect: largest stretch of the box against the picture's own shape, either way.
    """

    off: ClassVar[Mapping[str, Any]] = {"low_area": 1.0, "high_area": 1.0, "aspect": 1.0}
    low_area: Share = 0.6
    high_area: Share = 1.0
    aspect: Stretch = 4 / 3

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ConfigError: its lower end is above the upper one.
        """
        check_order("crop", low_area=self.low_area, high_area=self.high_area)

    def accepts(self, conversation: Conversation | None) -> bool:
        """Return whether no text gives coordinates, which would become wrong."""
        return conversation is None or not gives_coordinates(conversation)

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change uint8 (..., H, W, 3)."""
        height, width = pixels.shape[-3:-1]
        area = (self.low_area, self.high_area)
        top, left, rows, columns = draw_box(rng, height, width, area=area, aspect=self.aspect)
        box = (left, top, min(width, left + columns), min(height, top + rows))
        size = (width, height)
        return each_frame(pixels, lambda one: one.resize(size, Pil.Resampling.BICUBIC, box=box))
