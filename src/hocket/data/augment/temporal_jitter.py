"""Show a video with some of its frames replaced by their neighbours in time.

It chooses among the frames that the sampler picked, so their number and their times stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hocket.data.augment import PixelAugmentation, augmentations
from hocket.data.augment._numbers import Count, Share
from hocket.tokens.span import Modality


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class TemporalJitter(PixelAugmentation):
    """Move places in time, never against the order of the frames.

    Attributes:
        reach: largest move in frames, in both directions.
        chance: share of the frames that move.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.VIDEO})
    off: ClassVar[Mapping[str, Any]] = {"reach": 0}
    reach: Count = 1
    chance: Share = 0.5

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change uint8 (N, H, W, 3)."""
        count = len(pixels)
        moves = rng.integers(-self.reach, self.reach + 1, count) * (rng.random(count) < self.chance)
        return pixels[np.sort(np.clip(np.arange(count) + moves, 0, count - 1))]
