"""Cover stretches of time and bands of mel bins of a sound: SpecAugment without warping.

The method is Park et al. 2019 (arXiv 1904.08779). It acts on what the layout made of the sound;
the masks lie on all units of a sound taken as one, and only where it is not padding.

Letters: U units, M mel bins, F mel frames of a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hocket._errors import ConfigError
from hocket.data.augment import UnitAugmentation, augmentations
from hocket.data.augment._numbers import Count, Share
from hocket.tokens.layout.audio_wave import RAW_ROWS
from hocket.tokens.span import Modality, Plan


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class SpecAugment(UnitAugmentation):
    """Masks of uniform width, filled with the mean of the sound.

    Attributes:
        time_masks: stretches of time that are covered.
        time_share: largest width of each, as a share of the sound.
        mel_masks: bands of mel bins that are covered.
        mel_share: largest width of each, as a share of the bins.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.AUDIO})
    off: ClassVar[Mapping[str, Any]] = {"time_masks": 0, "mel_masks": 0}
    time_masks: Count = 2
    time_share: Share = 0.1
    mel_masks: Count = 2
    mel_share: Share = 0.2

    def __call__(self, units: np.ndarray, rng: np.random.Generator, *, plan: Plan) -> np.ndarray:
        """Change float32 (U, M, F).

        Raises:
            ConfigError: the units are raw samples.
        """
        count, bins, frames = units.shape
        if bins == RAW_ROWS:
            raise ConfigError(
                "data.augment.spec_augment covers mel bins, but this model hears raw samples "
                "(layout audio_wave). Leave it out; gain, noise, reverb and speed change samples."
            )
        full = plan.patches[1]
        lengths = np.array(plan.valid or (full,) * count)
        # Encoder frames to mel frames, of which a partly filled one counts as filled.
        valid = np.minimum(frames, -(-lengths * frames // full))
        where = np.flatnonzero(np.arange(frames) < valid[:, None])
        heard = np.moveaxis(units, 1, 2).reshape(-1, bins).copy()
        mean = heard[where].mean() if len(where) else np.float32(0)
        for _ in range(self.time_masks):
            start, stop = _stretch(rng, len(where), self.time_share)
            heard[where[start:stop]] = mean
        for _ in range(self.mel_masks):
            start, stop = _stretch(rng, bins, self.mel_share)
            heard[where, start:stop] = mean
        return np.ascontiguousarray(np.moveaxis(heard.reshape(count, frames, bins), 2, 1))


def _stretch(rng: np.random.Generator, total: int, share: float) -> tuple[int, int]:
    """Draw a stretch of 0 up to `share` of `total` places."""
    width = int(rng.integers(int(share * total) + 1))
    start = int(rng.integers(total - width + 1))
    return start, start + width
