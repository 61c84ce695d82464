"""Frames at a rate in time, by the rules of four systems."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np

from hocket._errors import ConfigError, MediaError
from hocket.media.frames._sampler import (
    SamplerSpec,
    check_choice,
    check_positive,
    check_whole,
    each,
    need_fps,
    samplers,
    spec_of,
    spread,
)

_RULES = ("spread", "first", "stride", "ceiling")


@samplers.register
@dataclass(frozen=True, slots=True)
class AtFps:
    """Frames at a rate in time.

    The rules differ in where a frame between two ticks goes and in what happens to a long video:

    - ``spread``: the last frame shown at 0, 1/rate, 2/rate, ... s; uniform over those once they
      are too many. A slower video keeps every frame once.
    - ``first``: VILA 2. The same ticks, and only the first ``max_frames`` of them: the rest of a
      long video is not seen. A slower video repeats frames.
    - ``stride``: VITA. Every ``round(fps / rate)``-th frame of a window, spread to at most
      ``max_frames`` and repeated to at least ``min_frames``. The original fails on a video slower
      than half the rate (stride 0); here every frame of that is read.
    - ``ceiling``: NaVILA's OpenCV reader with ``max_fps``. ``int(seconds * rate)`` uniform frames
      (two where that is one), at most ``max_frames``. The original answers a video shorter than
      one tick with a random number of black pictures; here it gives its first frame.

    Attributes:
        rate: frames per second to keep.
        max_frames: how many at most.
        rule: ``spread``, ``first``, ``stride`` or ``ceiling``.
        min_frames: how many at least, for ``stride``.
        start_seconds: where the window of ``stride`` begins, in whole seconds.
        end_seconds: where it ends; None is the end of the video. As in VITA an end before the
            start is exchanged with it, and one at the start is one second later.
    """

    rate: float
    max_frames: int
    _: KW_ONLY
    rule: Literal["spread", "first", "stride", "ceiling"] = "spread"
    min_frames: int = 1
    start_seconds: int = 0
    end_seconds: int | None = None

    def __post_init__(self) -> None:
        """Refuse rates of zero, counts below one and options of another rule."""
        check_positive(self, "rate", self.rate)
        check_whole(self, "max_frames", self.max_frames)
        check_choice(self, "rule", self.rule, _RULES)
        check_whole(self, "min_frames", self.min_frames)
        check_whole(self, "start_seconds", self.start_seconds, least=0)
        if self.end_seconds is not None:
            check_whole(self, "end_seconds", self.end_seconds, least=0)
        if self.min_frames > self.max_frames:
            raise ConfigError(
                f"frame sampler at_fps: min_frames {self.min_frames} is above max_frames "
                f"{self.max_frames}. Exchange them."
            )
        windowed = (self.min_frames, self.start_seconds, self.end_seconds) != (1, 0, None)
        if windowed and self.rule != "stride":
            raise ConfigError(
                f"frame sampler at_fps: min_frames, start_seconds and end_seconds belong to "
                f"rule=stride, found rule={self.rule}. Remove them or set rule=stride."
            )

    def pick(self, count: int, fps: float) -> list[int]:
        """Return the frames of the rule.

        Raises:
            MediaError: the video does not say its rate, or has no frame in the window.
        """
        need_fps(self, fps)
        if self.rule == "spread":
            return each(count, fps / self.rate, self.max_frames)
        if self.rule == "first":
            return self._first(count, fps)
        if self.rule == "stride":
            return self._stride(count, fps)
        return self._ceiling(count, fps)

    def spec(self) -> SamplerSpec:
        """Return the keys of the config."""
        return spec_of(self)

    def _first(self, count: int, fps: float) -> list[int]:
        # Ticks in seconds, in floating point: that of the original decides between two frames.
        ticks = np.arange(0, count / fps, 1 / self.rate)[: self.max_frames]
        return [min(count - 1, int(tick * fps)) for tick in ticks]

    def _stride(self, count: int, fps: float) -> list[int]:
        start, end = self.start_seconds, self.end_seconds
        if end is not None:
            start, end = min(start, end), max(start, end)
            end += start == end
        begin = int(start * fps)
        last = count - 1 if end is None else int(min(end * fps, count - 1))
        inside = range(begin, last + 1, max(1, round(fps / self.rate)))
        if not inside:
            raise MediaError(
                f"at_fps starts at {start} s, but the video ends at {count / fps:.2f} s. "
                f"Correct start_seconds and end_seconds."
            )
        most = min(max(len(inside), self.min_frames), self.max_frames)
        if most == len(inside):
            return list(inside)
        return [inside[at] for at in spread(len(inside), most, down=True)]

    def _ceiling(self, count: int, fps: float) -> list[int]:
        seconds = count / fps
        if seconds >= self.max_frames / self.rate:
            frames = self.max_frames
        else:
            ticks = math.floor(seconds * self.rate)
            if ticks == 0:
                return [0]
            frames = max(2, ticks)
        if count < frames:
            return list(range(count))
        return spread(count, frames, down=True)
