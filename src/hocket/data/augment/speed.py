"""Play a sound faster or slower; pitch and formants move with it, as with another speaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hocket.data.augment import augmentations
from hocket.tokens.span import Modality


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Speed:
    """Uniform speed factor by linear interpolation.

    A slower sound is longer; where it would outgrow the rows planned for it, the factor is raised
    until it fits, so that nothing is cut off.

    Attributes:
        low: smallest factor.
        high: largest factor.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.AUDIO})
    low: float = 0.85
    high: float = 1.2

    def __call__(
        self, array: np.ndarray, rng: np.random.Generator, *, limit: int | None
    ) -> np.ndarray:
        """Change float32 (L,)."""
        factor = rng.uniform(self.low, self.high)
        if limit is not None:
            factor = max(factor, len(array) / limit)
        count = max(1, int(len(array) / factor))
        at = np.arange(count) * factor
        return np.interp(at, np.arange(len(array)), array).astype(np.float32)
