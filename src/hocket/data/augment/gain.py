"""Make a sound louder or quieter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hocket.data.augment import SoundAugmentation, augmentations
from hocket.data.augment._numbers import NotNegative


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Gain(SoundAugmentation):
    """Uniform gain in decibels.

    Attributes:
        decibels: largest gain in both directions.
    """

    off: ClassVar[Mapping[str, Any]] = {"decibels": 0.0}
    decibels: NotNegative = 6.0

    def __call__(
        self, wave: np.ndarray, rng: np.random.Generator, *, limit: int | None, rate: int
    ) -> np.ndarray:
        """Change float32 (L,)."""
        factor = 10 ** (rng.uniform(-self.decibels, self.decibels) / 20)
        return wave * np.float32(factor)
