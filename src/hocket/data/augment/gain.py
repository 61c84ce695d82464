"""Make a sound louder or quieter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hocket.data.augment import augmentations
from hocket.tokens.span import Modality


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Gain:
    """Uniform gain in decibels.

    Attributes:
        decibels: largest gain in both directions.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.AUDIO})
    decibels: float = 6.0

    def __call__(
        self, array: np.ndarray, rng: np.random.Generator, *, limit: int | None
    ) -> np.ndarray:
        """Change float32 (L,)."""
        factor = 10 ** (rng.uniform(-self.decibels, self.decibels) / 20)
        return array * np.float32(factor)
