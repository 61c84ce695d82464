"""Play a sound in a room: convolution with an impulse response, made up or recorded.

A made-up response is the direct sound and Gaussian noise that decays exponentially, by 60 dB in
the reverberation time. Of a recorded one what comes before its peak, the direct sound, is left
out. The length and the loudness of the sound stay; what would sound on after its end is cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from hocket.data.augment import SoundAugmentation, augmentations
from hocket.data.augment._numbers import Share, check_order
from hocket.data.augment._sound import convolve, power, recorded, recordings

_DECAY = math.log(10.0**3)

_Seconds = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Reverb(SoundAugmentation):
    """Uniform reverberation time and share of reverberation.

    Attributes:
        chance: share of the sounds that get reverberation.
        low_seconds: smallest reverberation time of a made-up room.
        high_seconds: largest reverberation time of a made-up room.
        wet: largest share of the response's energy that is not the direct sound.
        folder: WAV files of impulse responses to use instead; empty for none.
    """

    off: ClassVar[Mapping[str, Any]] = {"wet": 0.0}
    chance: Share = 0.5
    low_seconds: _Seconds = 0.1
    high_seconds: _Seconds = 0.6
    wet: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.5
    folder: str = ""

    def __post_init__(self) -> None:
        """Check the range and the folder.

        Raises:
            ConfigError: the lower end is above the upper one, or the folder has no WAV file.
        """
        check_order("reverb", low_seconds=self.low_seconds, high_seconds=self.high_seconds)
        if self.folder:
            recordings("reverb.folder", self.folder)

    def __call__(
        self, wave: np.ndarray, rng: np.random.Generator, *, limit: int | None, rate: int
    ) -> np.ndarray:
        """Change float32 (L,) and keep its length."""
        if rng.random() >= self.chance:
            return wave
        wet = rng.uniform(0, self.wet)
        tail = self._tail(rng, rate)
        energy = float(np.sum(np.square(tail)))
        if wet == 0 or energy == 0:
            return wave
        tail *= math.sqrt(wet / (1 - wet) / energy)
        heard = convolve(wave, np.concatenate([np.ones(1), tail]))
        loudness = power(heard)
        return heard if loudness == 0 else heard * np.float32(math.sqrt(power(wave) / loudness))

    def _tail(self, rng: np.random.Generator, rate: int) -> np.ndarray:
        """Return float64 (K,): the response behind the direct sound, at any level."""
        if not self.folder:
            seconds = rng.uniform(self.low_seconds, self.high_seconds)
            count = max(1, round(seconds * rate))
            return rng.standard_normal(count) * np.exp(-_DECAY * np.arange(1, count + 1) / count)
        files = recordings("reverb.folder", self.folder)
        response = recorded(files[rng.integers(len(files))], rate).astype(np.float64)
        peak = int(np.abs(response).argmax())
        scale = response[peak] or 1.0
        return response[peak + 1 :] / scale
