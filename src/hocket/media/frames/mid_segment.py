"""The middle frame of each of equally long segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hocket._errors import ConfigError
from hocket.media.frames._sampler import (
    SamplerSpec,
    check_choice,
    check_whole,
    samplers,
    spec_of,
)


@samplers.register
@dataclass(frozen=True, slots=True)
class MidSegment:
    """Ovis' rule: all frames if their number is allowed, else the middles of segments.

    Attributes:
        min_frames: how many at least; a shorter video repeats frames.
        max_frames: how many at most.
        edges: whether segments begin at whole frames, ``rounded`` as in Ovis 2.5, or where they
            do, ``exact`` as in Ovis 2.
    """

    min_frames: int = 8
    max_frames: int = 8
    edges: Literal["rounded", "exact"] = "rounded"

    def __post_init__(self) -> None:
        """Refuse counts below one, a least above the most and unknown words."""
        check_choice(self, "edges", self.edges, ("rounded", "exact"))
        check_whole(self, "min_frames", self.min_frames)
        check_whole(self, "max_frames", self.max_frames)
        if self.min_frames > self.max_frames:
            raise ConfigError(
                f"frame sampler mid_segment: min_frames {self.min_frames} is above max_frames "
                f"{self.max_frames}. Exchange them."
            )

    def pick(self, count: int, fps: float) -> list[int]:
        """Return, of n segments, ``(round(i * count / n) + round((i + 1) * count / n)) // 2``.

        Exact edges are not rounded.
        """
        frames = min(max(count, self.min_frames), self.max_frames)
        if frames == count:
            return list(range(count))
        length = count / frames
        edges = [length * i for i in range(frames + 1)]
        if self.edges == "rounded":
            edges = [round(edge) for edge in edges]
        return [min(count - 1, int((edges[i] + edges[i + 1]) / 2)) for i in range(frames)]

    def spec(self) -> SamplerSpec:
        """Return the keys of the config."""
        return spec_of(self)
