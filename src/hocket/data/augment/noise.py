"""Add white noise to a sound at a random signal-to-noise ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hocket.data.augment import augmentations
from hocket.tokens.span import Modality


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Noise:
    """White noise.

    Attributes:
        low_db: smallest signal-to-noise ratio in decibels.
        high_db: largest signal-to-noise ratio in decibels.
        chance: share of the sounds that get noise.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.AUDIO})
    low_db: float = 15.0
    high_db: float = 40.0
    chance: float = 0.5

    def __call__(
        self, array: np.ndarray, rng: np.random.Generator, *, limit: int | None
    ) -> np.ndarray:
        """Change float32 (L,)."""
        if rng.random() >= self.chance:
            return array
        power = float(np.mean(np.square(array))) / 10 ** (
            rng.uniform(self.low_db, self.high_db) / 10
        )
        return array + np.float32(power**0.5) * rng.standard_normal(len(array), dtype=np.float32)
