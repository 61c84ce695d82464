"""Change contrast and brightness of a picture, or of all frames of a video alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hocket.data.augment import augmentations
from hocket.tokens.span import Modality


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Multiply around the middle grey, then add.

    Attributes:
        contrast: largest relative change of the contrast.
        brightness: largest change of the brightness, as a share of the full range.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.IMAGE, Modality.VIDEO})
    contrast: float = 0.2
    brightness: float = 0.1

    def __call__(
        self, array: np.ndarray, rng: np.random.Generator, *, limit: int | None
    ) -> np.ndarray:
        """Change uint8 (..., H, W, 3)."""
        gain = 1 + rng.uniform(-self.contrast, self.contrast)
        offset = 255 * rng.uniform(-self.brightness, self.brightness)
        table = np.clip((np.arange(256) - 128) * gain + 128 + offset, 0, 255).astype(np.uint8)
        return table[array]
