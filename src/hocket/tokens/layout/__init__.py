"""Layouts: how one medium is cut into encoder inputs. Pure arithmetic and numpy, no weights.

A layout is the preprocessing that a checkpoint carries: the options of the dataclass are exactly
what is written to ``processor_config.json``, the connector's reduction included.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from hocket._options import read_options
from hocket._registry import Registry
from hocket.media.resample import Resampler
from hocket.tokens.span import Plan

OptionValue = int | float | str | bool | list[int] | list[float] | list[str] | None


class Layout(Protocol):
    """What every layout can do; `dataclasses.fields` are its options."""

    __module__: str


class ImageLayout(Layout, Protocol):
    """Cuts a picture or the frames of a video into encoder units of one shape.

    `after` holds texts that are tokenised one by one and written behind the rows of each piece of
    a plan, as VILA 2 writes a line end behind every tile.
    """

    after: tuple[str, ...]

    def plan(self, height: int, width: int, *, frames: int | None = None, media: int = 1) -> Plan:
        """Return units, patches and rows.

        Args:
            height: height in pixels.
            width: width in pixels.
            frames: frames of a video; None for a picture.
            media: pictures in the sample, where they share a budget of pixels.
        """
        ...

    def smaller(self, plan: Plan, height: int, width: int, *, media: int = 1) -> Plan | None:
        """Return the plan of the same picture one step smaller, or None where there is none.

        `units` and the model follow the plan, so a picture too large for its row is shown with
        fewer pixels, never below the least that the layout's own options name.

        Args:
            plan: the plan to better, of a picture and not of a video.
            height: height in pixels.
            width: width in pixels.
            media: pictures in the sample, where they share a budget of pixels.
        """
        ...

    def units(self, frames: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn uint8 (N, H, W, 3), one picture or the frames of a video, into float32 (U, ...)."""
        ...


class AudioLayout(Layout, Protocol):
    """Cuts a sound into encoder units of one length."""

    rate: int
    resampler: Resampler

    def plan(self, samples: int) -> Plan:
        """Return units, valid encoder frames and rows of that many samples."""
        ...

    def capacity(self, plan: Plan) -> int:
        """Return the longest sound, in samples, that keeps the plan."""
        ...

    def units(self, wave: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn float32 (L,) into float32 (U, M, F)."""
        ...

    def lengths(self, plan: Plan) -> list[int]:
        """Return the encoder frames of each unit that are not padding."""
        ...


layouts: Registry[type[Layout]] = Registry("hocket.tokens.layout", noun="layout")


def options_of(layout: Layout) -> dict[str, OptionValue]:
    """Return ``{"kind": name, option: value, ...}``: what is saved with a checkpoint."""
    kind = type(layout).__module__.rpartition(".")[2]
    fields = dataclasses.asdict(layout)  # type: ignore[call-overload] # every layout is a dataclass
    return {"kind": kind} | {
        key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()
    }


def layout_from(options: Mapping[str, OptionValue]) -> Layout:
    """Build a layout from what `options_of` returned.

    Raises:
        UnknownNameError: no layout has that kind.
        ConfigError: an option is unknown or has the wrong type.
    """
    return read_options("layout", layouts.get(str(options.get("kind", ""))), options)
