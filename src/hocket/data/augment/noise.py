"""Add noise to a sound at a random signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hocket.data.augment import SoundAugmentation, augmentations
from hocket.data.augment._numbers import Finite, Share, check_order
from hocket.data.augment._sound import (
    NoiseColour,
    mix,
    noise,
    recorded,
    recordings,
    stretch_to,
)


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Noise(SoundAugmentation):
    """White or pink noise, or recordings; silence stays silent.

    Attributes:
        low_db: smallest signal-to-noise ratio in decibels.
        high_db: largest signal-to-noise ratio in decibels.
        chance: share of the sounds that get noise.
        colour: ``white`` has the same power in each hertz, ``pink`` in each octave.
        folder: WAV files to take the noise from instead; empty for none.
    """

    off: ClassVar[Mapping[str, Any]] = {"chance": 0.0}
    low_db: Finite = 15.0
    high_db: Finite = 40.0
    chance: Share = 0.5
    colour: NoiseColour = "white"
    folder: str = ""

    def __post_init__(self) -> None:
        """Check the range and the folder.

        Raises:
            ConfigError: the lower end is above the upper one, or the folder has no WAV file.
        """
        check_order("noise", low_db=self.low_db, high_db=self.high_db)
        if self.folder:
            recordings("noise.folder", self.folder)

    def __call__(
        self, wave: np.ndarray, rng: np.random.Generator, *, limit: int | None, rate: int
    ) -> np.ndarray:
        """Change float32 (L,)."""
        if rng.random() >= self.chance:
            return wave
        ratio_db = rng.uniform(self.low_db, self.high_db)
        return mix(wave, self._background(len(wave), rng, rate), ratio_db=ratio_db)

    def _background(self, count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        if not self.folder:
            return noise(rng, count, self.colour)
        files = recordings("noise.folder", self.folder)
        return stretch_to(recorded(files[rng.integers(len(files))], rate), count, rng)
