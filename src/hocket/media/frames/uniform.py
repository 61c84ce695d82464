"""Frames at equal distances over the whole video."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

from hocket.media.frames._sampler import (
    SamplerSpec,
    check_choice,
    check_whole,
    samplers,
    spec_of,
    spread,
)


@samplers.register
@dataclass(frozen=True, slots=True)
class Uniform:
    """Frames at equal distances, first and last included.

    VILA 1.5 and VILA 2 without a rate are ``short="repeat"``; NaVILA's OpenCV reader is
    ``rounding="down"``. The original of the latter answers one-frame files and files without a
    rate with black pictures; here the frames are read, since the rule needs no rate.

    Attributes:
        frames: how many at most.
        rounding: ``nearest`` rounds places half to even, ``down`` cuts them.
        short: what a video with fewer frames gives: ``keep`` all of them once, or ``repeat``
            some so that there are always ``frames``.
    """

    frames: int
    _: KW_ONLY
    rounding: Literal["nearest", "down"] = "nearest"
    short: Literal["keep", "repeat"] = "keep"

    def __post_init__(self) -> None:
        """Refuse counts below one and unknown words."""
        check_whole(self, "frames", self.frames)
        check_choice(self, "rounding", self.rounding, ("nearest", "down"))
        check_choice(self, "short", self.short, ("keep", "repeat"))

    def pick(self, count: int, fps: float) -> list[int]:
        """Return ``linspace(0, count - 1, frames)`` as whole numbers."""
        if count <= self.frames and self.short == "keep":
            return list(range(count))
        return spread(count, self.frames, down=self.rounding == "down")

    def spec(self) -> SamplerSpec:
        """Return the keys of the config."""
        return spec_of(self)
