"""Move a picture, or all frames of a video alike, by a few pixels; the edge is repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hocket.data.augment import augmentations
from hocket.tokens.span import Modality


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Shift:
    """Uniform shift in both directions.

    Attributes:
        share: largest shift as a share of the side.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.IMAGE, Modality.VIDEO})
    share: float = 0.06

    def __call__(
        self, array: np.ndarray, rng: np.random.Generator, *, limit: int | None
    ) -> np.ndarray:
        """Shift uint8 (..., H, W, 3)."""
        height, width = array.shape[-3:-1]
        down = round(rng.uniform(-self.share, self.share) * height)
        right = round(rng.uniform(-self.share, self.share) * width)
        rows = np.clip(np.arange(height) - down, 0, height - 1)
        columns = np.clip(np.arange(width) - right, 0, width - 1)
        return array[..., rows[:, None], columns[None, :], :]
