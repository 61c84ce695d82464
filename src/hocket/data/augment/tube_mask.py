"""Cover the same cells of a grid in all frames of a video: the tube masking of VideoMAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from hocket.data.augment import PixelAugmentation, augmentations
from hocket.data.augment._numbers import Share
from hocket.data.augment._pixels import mean_colour
from hocket.tokens.span import Modality


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class TubeMask(PixelAugmentation):
    """Fill cells with the mean colour of the video.

    Attributes:
        chance: share of the videos that are masked.
        share: share of the cells that are covered, rounded to a whole number of cells.
        cells: cells along each side of a frame; fewer where a side has fewer pixels.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.VIDEO})
    off: ClassVar[Mapping[str, Any]] = {"share": 0.0}
    chance: Share = 1.0
    share: Share = 0.25
    cells: Annotated[int, Field(ge=1)] = 8

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change uint8 (N, H, W, 3)."""
        if rng.random() >= self.chance:
            return pixels
        height, width = pixels.shape[-3:-1]
        down, across = min(self.cells, height), min(self.cells, width)
        covered = np.zeros(down * across, bool)
        covered[rng.permutation(covered.size)[: round(self.share * covered.size)]] = True
        rows, columns = np.arange(height) * down // height, np.arange(width) * across // width
        mask = covered.reshape(down, across)[rows[:, None], columns[None, :]]
        masked = pixels.copy()
        masked[:, mask] = np.rint(mean_colour(pixels)).astype(np.uint8)
        return masked
