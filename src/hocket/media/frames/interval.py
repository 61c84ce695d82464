"""One frame every so many seconds."""

from __future__ import annotations

from dataclasses import dataclass

from hocket.media.frames._sampler import (
    SamplerSpec,
    check_positive,
    check_whole,
    each,
    need_fps,
    samplers,
    spec_of,
)


@samplers.register
@dataclass(frozen=True, slots=True)
class Interval:
    """The last frame shown at 0, ``seconds``, 2 ``seconds``, ...: a video cut by time.

    Asked for by the plan of Hydra's video model; the original has no such rule.

    Attributes:
        seconds: from one frame to the next. A video shorter than that gives its first frame.
        max_frames: how many at most; more are thinned out uniformly.
    """

    seconds: float
    max_frames: int

    def __post_init__(self) -> None:
        """Refuse intervals of zero and counts below one."""
        check_positive(self, "seconds", self.seconds)
        check_whole(self, "max_frames", self.max_frames)

    def pick(self, count: int, fps: float) -> list[int]:
        """Return ``int(i * seconds * fps)`` for i = 0, 1, ... within the video.

        Raises:
            MediaError: the video does not say its rate.
        """
        need_fps(self, fps)
        return each(count, self.seconds * fps, self.max_frames)

    def spec(self) -> SamplerSpec:
        """Return the keys of the config."""
        return spec_of(self)
