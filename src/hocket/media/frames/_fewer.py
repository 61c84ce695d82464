"""Some of the frames that another sampler picks, for a video that must be shortened."""

from __future__ import annotations

from dataclasses import dataclass

from hocket.media.frames._sampler import FrameSampler, SamplerSpec, spread


@dataclass(frozen=True, slots=True)
class Fewer:
    """Thins out what a sampler picks, evenly, first and last included.

    Not a kind of its own: it is made for one video of one sample, never saved.

    Attributes:
        sampler: what picks.
        frames: how many at most.
    """

    sampler: FrameSampler
    frames: int

    def pick(self, count: int, fps: float) -> list[int]:
        """Return numbers of frames, see `FrameSampler.pick`.

        Raises:
            MediaError: as the sampler behind it.
        """
        picked = self.sampler.pick(count, fps)
        if len(picked) <= self.frames:
            return picked
        return [picked[at] for at in spread(len(picked), self.frames, down=False)]

    def spec(self) -> SamplerSpec:
        """Return what makes the sampler behind it."""
        return self.sampler.spec()
