"""What a frame sampler is, and the arithmetic that several of them share.

Knows counts and rates; must not know which samplers there are.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import Field, asdict, fields
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from hocket._errors import ConfigError, MediaError, did_you_mean
from hocket._registry import Registry

BLANK = -1

SamplerSpec = dict[str, int | float | str]


class _Options(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


@runtime_checkable
class FrameSampler(Protocol):
    """A rule that picks frames; its options are the fields of its frozen dataclass."""

    def pick(self, count: int, fps: float) -> list[int]:
        """Return numbers of frames, each in ``range(count)`` or `BLANK`.

        A number may come more than once. Nothing depends on anything but the arguments and the
        options, so that a count of rows made from the header stays true when frames are read.

        Args:
            count: frames that the video has, at least 1.
            fps: frames per second; 0 when the file does not say.

        Raises:
            MediaError: this video cannot be sampled by the rule.
        """
        ...

    def spec(self) -> SamplerSpec:
        """Return what `sampler_from` turns back into this sampler."""
        ...


samplers: Registry[type[FrameSampler]] = Registry("hocket.media.frames", noun="frame sampler")


def spec_of(sampler: _Options) -> SamplerSpec:
    """Return the kind and every option that is not at its default."""
    values = asdict(sampler)
    told = {
        field.name: values[field.name]
        for field in fields(sampler)
        if values[field.name] != field.default
    }
    return {"kind": kind_of(sampler), **told}


def kind_of(sampler: _Options) -> str:
    """Return the registered name: that of the file."""
    return type(sampler).__module__.rpartition(".")[2]


def spread(count: int, frames: int, *, down: bool) -> list[int]:
    """Return ``linspace(0, count - 1, frames)``, cut or rounded half to even to whole numbers."""
    places = np.linspace(0, count - 1, frames)
    return [int(place) for place in (places if down else places.round())]


def each(count: int, step: float, most: int) -> list[int]:
    """Return the last frame shown at 0, step, 2 step, ... frames, spread to at most ``most``."""
    if step <= 1:
        picked = list(range(count))
    else:
        # 1e-6 of a frame keeps exact multiples on their own frame
        total = max(1, math.ceil(count / step - 1e-6))
        picked = [min(count - 1, int(i * step + 1e-6)) for i in range(total)]
    if len(picked) <= most:
        return picked
    return [picked[i] for i in spread(len(picked), most, down=False)]


def need_fps(sampler: _Options, fps: float) -> None:
    """Refuse a video that does not say its rate.

    Raises:
        MediaError: the rate is 0 or not a number.
    """
    if not fps > 0:
        raise MediaError(
            f"{kind_of(sampler)} needs the frame rate and the video does not say it. "
            f"Use kind=uniform or encode the video again."
        )


def check_whole(
    sampler: _Options, key: str, value: int, *, least: int = 1, most: int | None = None
) -> None:
    """Refuse an option that is not a whole number from ``least`` to ``most``.

    Raises:
        ConfigError: it is something else.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        end = "" if most is None else f" to {most}"
        raise ConfigError(
            f"frame sampler {kind_of(sampler)}: {key} is {value!r}, "
            f"expected a whole number from {least}{end}."
        )


def check_positive(sampler: _Options, key: str, value: float) -> None:
    """Refuse an option that is not a finite number above 0.

    Raises:
        ConfigError: it is something else.
    """
    named = f"frame sampler {kind_of(sampler)}: {key}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{named} is {value!r}, expected a number.")
    if not 0 < value < float("inf"):
        raise ConfigError(f"{named} is {value}, expected above 0.")


def check_choice(sampler: _Options, key: str, value: str, known: Collection[str]) -> None:
    """Refuse an option that is not one of the known words.

    Raises:
        ConfigError: it is something else; the message has the nearest word.
    """
    if value not in known:
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        raise ConfigError(
            f"frame sampler {kind_of(sampler)}: {key} is {value!r}.{hint} "
            f"Known: {', '.join(sorted(known))}."
        )
