"""One frame of each of equally long segments, at random within them or in their middles."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np

from hocket.media.frames._sampler import (
    SamplerSpec,
    check_choice,
    check_whole,
    samplers,
    spec_of,
)


@samplers.register
@dataclass(frozen=True, slots=True)
class Segments:
    """Hydra's rule: ``frames`` segments of ``count // frames`` frames, one frame of each.

    The frames behind the last whole segment are never picked. Give each sample of a training
    epoch its own ``seed`` with `dataclasses.replace`; two videos of one length and one seed get
    the same places. The draws are those of numpy's global generator after ``numpy.random.seed``.

    Attributes:
        frames: how many, always.
        seed: start of the random places within the segments, below 2**32; None is their middles.
        short: what a video with fewer frames gives: ``repeat`` spreads its frames over the
            segments, ``first`` is frame 0 in all of them, as in the original.
    """

    frames: int
    _: KW_ONLY
    seed: int | None = None
    short: Literal["repeat", "first"] = "repeat"

    def __post_init__(self) -> None:
        """Refuse counts below one, seeds that numpy does not take and unknown words."""
        check_whole(self, "frames", self.frames)
        if self.seed is not None:
            check_whole(self, "seed", self.seed, least=0, most=2**32 - 1)
        check_choice(self, "short", self.short, ("repeat", "first"))

    def pick(self, count: int, fps: float) -> list[int]:
        """Return ``i * length + place`` for each segment i."""
        length = count // self.frames
        if length == 0:
            if self.short == "first":
                return [0] * self.frames
            return [i * count // self.frames for i in range(self.frames)]
        if self.seed is None:
            return [i * length + length // 2 for i in range(self.frames)]
        # RandomState, not default_rng: its draws are frozen for good and are the original's.
        places = np.random.RandomState(self.seed).randint(length, size=self.frames)
        return [i * length + int(place) for i, place in enumerate(places)]

    def spec(self) -> SamplerSpec:
        """Return the keys of the config."""
        return spec_of(self)
