"""Which frames of a video are looked at.

Knows counts and rates; must not know pixels, files or decoders. A sampler returns frame
numbers in the order in which the model reads them; `BLANK` stands for a black frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np

from hocket._errors import ConfigError, MediaError, UnknownNameError

BLANK = -1

SamplerSpec = dict[str, int | float | str]


@runtime_checkable
class FrameSampler(Protocol):
    """A rule that picks frames."""

    def pick(self, count: int, fps: float) -> list[int]:
        """Return numbers of frames, each in ``range(count)`` or `BLANK`.

        Args:
            count: frames that the video has, at least 1.
            fps: frames per second; 0 when the file does not say.
        """
        ...

    def spec(self) -> SamplerSpec:
        """Return what `sampler_from` turns back into this sampler."""
        ...


@dataclass(frozen=True, slots=True)
class Uniform:
    """Frames at equal distances, first and last included; all of them once if there are fewer.

    Attributes:
        frames: how many at most.
    """

    frames: int

    def __post_init__(self) -> None:
        """Refuse counts below one."""
        _whole("uniform", "frames", self.frames)

    def pick(self, count: int, fps: float) -> list[int]:
        """Return ``round(linspace(0, count - 1, frames))``."""
        if count <= self.frames:
            return list(range(count))
        return [int(i) for i in np.linspace(0, count - 1, self.frames).round()]

    def spec(self) -> SamplerSpec:
        """Return the keys of the config."""
        return {"kind": "uniform", "frames": self.frames}


@dataclass(frozen=True, slots=True)
class AtFps:
    """Frames at a rate in time; uniform over the whole video once that gives too many.

    Attributes:
        rate: frames per second to keep. A slower video keeps every frame once.
        max_frames: how many at most.
    """

    rate: float
    max_frames: int

    def __post_init__(self) -> None:
        """Refuse rates of zero and counts below one."""
        if isinstance(self.rate, bool) or not isinstance(self.rate, int | float):
            raise ConfigError(f"frame sampler at_fps: rate is {self.rate!r}, expected a number.")
        if not 0 < self.rate < float("inf"):
            raise ConfigError(f"frame sampler at_fps: rate is {self.rate}, expected above 0.")
        _whole("at_fps", "max_frames", self.max_frames)

    def pick(self, count: int, fps: float) -> list[int]:
        """Return the last frame shown at each of the times 0, 1/rate, 2/rate, ...

        Raises:
            MediaError: the video does not say its rate.
        """
        if not fps > 0:
            raise MediaError(
                "at_fps needs the frame rate and the video does not say it. "
                "Use kind=uniform or encode the video again."
            )
        if self.rate >= fps:
            picked = list(range(count))
        else:
            # 1e-6 of a frame keeps exact multiples on their own frame
            step = fps / self.rate
            total = int(np.ceil(count / step - 1e-6))
            picked = [min(count - 1, int(i * step + 1e-6)) for i in range(max(1, total))]
        if len(picked) <= self.max_frames:
            return picked
        return [picked[i] for i in Uniform(self.max_frames).pick(len(picked), fps)]

    def spec(self) -> SamplerSpec:
        """Return the keys of the config."""
        return {"kind": "at_fps", "rate": self.rate, "max_frames": self.max_frames}


@dataclass(frozen=True, slots=True)
class History:
    """NaVILA's rule: always ``frames`` frames, the newest last, the past uniform before it.

    A short history is filled with black frames (`BLANK`) in front, as NaVILA was trained.

    Attributes:
        frames: how many, always.
    """

    frames: int

    def __post_init__(self) -> None:
        """Refuse counts below one."""
        _whole("history", "frames", self.frames)

    def pick(self, count: int, fps: float) -> list[int]:
        """Return ``int(linspace(0, count - 1, frames - 1, endpoint=False)) + [count - 1]``."""
        if count < self.frames:
            return [BLANK] * (self.frames - count) + list(range(count))
        past = np.linspace(0, count - 1, self.frames - 1, endpoint=False)
        return [*(int(i) for i in past), count - 1]

    def spec(self) -> SamplerSpec:
        """Return the keys of the config."""
        return {"kind": "history", "frames": self.frames}


_KINDS: dict[str, type[Uniform] | type[AtFps] | type[History]] = {
    "uniform": Uniform,
    "at_fps": AtFps,
    "history": History,
}


def sampler_from(spec: Mapping[str, int | float | str]) -> FrameSampler:
    """Return the sampler of a spec such as ``{"kind": "uniform", "frames": 8}``.

    Raises:
        UnknownNameError: no sampler is called ``kind``.
        ConfigError: a key is missing, unknown or has a wrong value.
    """
    kind = spec.get("kind")
    if not isinstance(kind, str):
        raise ConfigError(f"frame sampler: kind is {kind!r}, expected one of {sorted(_KINDS)}.")
    if kind not in _KINDS:
        raise UnknownNameError("frame sampler", kind, _KINDS)
    values = {key: value for key, value in spec.items() if key != "kind"}
    expected = [item.name for item in fields(_KINDS[kind])]
    if sorted(values) != sorted(expected):
        raise ConfigError(
            f"frame sampler {kind}: keys {sorted(values)}, expected {sorted(expected)}. "
            f"Add or remove keys to match."
        )
    sampler: FrameSampler = _KINDS[kind](**values)  # type: ignore[arg-type]  # __post_init__ checks
    return sampler


def _whole(kind: str, key: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"frame sampler {kind}: {key} is {value!r}, expected a whole number from 1."
        )
