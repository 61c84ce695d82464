"""The frames of a walk: the newest and what led to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hocket.media.frames._sampler import BLANK, SamplerSpec, check_whole, samplers, spec_of


@samplers.register
@dataclass(frozen=True, slots=True)
class History:
    """NaVILA's rule: always ``frames`` frames, the newest last, the past uniform before it.

    A short history is filled with black frames (`BLANK`) in front, as NaVILA was trained: its
    ``vlnce_frame_sampling`` and its evaluation do so with black pictures of a fixed size, its
    file reader with black frames of the video's size, as `Video.load` does.

    Attributes:
        frames: how many, always.
    """

    frames: int

    def __post_init__(self) -> None:
        """Refuse counts below one."""
        check_whole(self, "frames", self.frames)

    def pick(self, count: int, fps: float) -> list[int]:
        """Return ``int(linspace(0, count - 1, frames - 1, endpoint=False)) + [count - 1]``."""
        if count < self.frames:
            return [BLANK] * (self.frames - count) + list(range(count))
        past = np.linspace(0, count - 1, self.frames - 1, endpoint=False)
        return [*(int(i) for i in past), count - 1]

    def spec(self) -> SamplerSpec:
        """Return the keys of the config."""
        return spec_of(self)
