"""Play a sound faster or slower; pitch and formants move with it, as with another speaker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hocket.data.augment import SoundAugmentation, augmentations
from hocket.data.augment._numbers import Positive, Share, check_order
from hocket.data.augment.pitch import stretched, window_samples


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Speed(SoundAugmentation):
    """Uniform speed factor by linear interpolation, which costs least.

    A slower sound is longer; where it would outgrow the rows planned for it, the factor is raised
    until it fits, so that nothing is cut off.

    Attributes:
        chance: share of the sounds that are changed.
        low: smallest factor.
        high: largest factor.
        keep_pitch: stretch the time alone, as the VITA guide's ``time_stretch`` does.
    """

    off: ClassVar[Mapping[str, Any]] = {"low": 1.0, "high": 1.0}
    chance: Share = 1.0
    low: Positive = 0.85
    high: Positive = 1.2
    keep_pitch: bool = False

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ConfigError: its lower end is above the upper one.
        """
        check_order("speed", low=self.low, high=self.high)

    def __call__(
        self, wave: np.ndarray, rng: np.random.Generator, *, limit: int | None, rate: int
    ) -> np.ndarray:
        """Change float32 (L,)."""
        # Drawn only where it decides, so that a chance of 1 gives what it gave without one.
        if self.chance < 1 and rng.random() >= self.chance:
            return wave
        factor = rng.uniform(self.low, self.high)
        if limit is not None:
            factor = max(factor, len(wave) / limit)
        if factor == 1:
            return wave
        count = max(1, int(len(wave) / factor))
        if self.keep_pitch:
            slower = stretched(wave, 1 / factor, window=window_samples(rate))
            return np.pad(slower[:count], (0, max(0, count - len(slower))))
        at = np.arange(count) * factor
        return np.interp(at, np.arange(len(wave)), wave).astype(np.float32)
