"""RandAugment: a few operations drawn from a list, all at one magnitude.

The method is Cubuk et al. 2020 (arXiv 1909.13719). At magnitude m of 10 the operations are, each
with a random sign where it has one:

============== =======================================================================
identity       nothing
shear_x        shear by 0.3 m / 10 along the width
shear_y        shear by 0.3 m / 10 along the height
translate_x    shift by 0.45 m / 10 of the width
translate_y    shift by 0.45 m / 10 of the height
rotate         turn by 30 m / 10 degrees
brightness     multiply every channel by 1 +- 0.9 m / 10
contrast       multiply the distance from the mean luma by 1 +- 0.9 m / 10
colour         multiply the distance from the pixel's luma by 1 +- 0.9 m / 10
sharpness      multiply the distance from the smoothed picture by 1 +- 0.9 m / 10
posterize      keep 8 - round(4 m / 10) bits of every channel
solarize       invert channels of 256 - 256 m / 10 and more
autocontrast   stretch every channel to the full range; of one strength, off at m = 0
equalize       flatten every channel's histogram; of one strength, off at m = 0
============== =======================================================================

All frames of a video share the draw and the histograms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from PIL import ImageFilter
from pydantic import Field

from hocket._errors import ConfigError, UnknownNameError
from hocket.chat.conversation import Conversation
from hocket.data.augment import PixelAugmentation, augmentations
from hocket.data.augment._numbers import Colour, Count
from hocket.data.augment._pixels import MEAN, Coefficients, adjust, each_frame, turned, warp
from hocket.data.augment._sides import gives_coordinates

_MAPS: dict[str, Callable[[float, int, int], Coefficients]] = {
    "shear_x": lambda s, height, width: (1.0, 0.3 * s, 0.0, 0.0, 1.0, 0.0),
    "shear_y": lambda s, height, width: (1.0, 0.0, 0.0, 0.3 * s, 1.0, 0.0),
    "translate_x": lambda s, height, width: (1.0, 0.0, 0.45 * s * width, 0.0, 1.0, 0.0),
    "translate_y": lambda s, height, width: (1.0, 0.0, 0.0, 0.0, 1.0, 0.45 * s * height),
    "rotate": lambda s, height, width: turned(30 * s),
}
_COLOURS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "identity": lambda pixels, s: pixels,
    "brightness": lambda pixels, s: adjust(pixels, brightness=1 + 0.9 * s),
    "contrast": lambda pixels, s: adjust(pixels, contrast=1 + 0.9 * s),
    "colour": lambda pixels, s: adjust(pixels, saturation=1 + 0.9 * s),
    "sharpness": lambda pixels, s: _sharpen(pixels, 1 + 0.9 * s),
    "posterize": lambda pixels, s: pixels & np.uint8(256 - 2 ** round(4 * abs(s))),
    "solarize": lambda pixels, s: np.where(pixels >= 256 - 256 * abs(s), 255 - pixels, pixels),
    "autocontrast": lambda pixels, s: _by_channel(pixels, _stretched),
    "equalize": lambda pixels, s: _by_channel(pixels, _flattened),
}
OPERATIONS = (*_COLOURS, *_MAPS)
"""Every operation by name."""


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class RandAugment(PixelAugmentation):
    """Some operations one after the other; samples that give coordinates are left alone.

    Attributes:
        count: operations on each medium, drawn with replacement.
        magnitude: strength of every operation, 0 to 10; 0 changes nothing.
        operations: what is drawn from; the file's docstring lists them all.
        fill: red, green and blue of what comes from outside the picture.
    """

    off: ClassVar[Mapping[str, Any]] = {"magnitude": 0.0}
    count: Count = 2
    magnitude: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 5.0
    operations: tuple[str, ...] = OPERATIONS
    fill: Colour = MEAN

    def __post_init__(self) -> None:
        """Check the operations.

        Raises:
            UnknownNameError: one is not known.
            ConfigError: there are none.
        """
        if not self.operations:
            raise ConfigError(
                "data.augment.rand_augment.operations is empty, expected one name at least. "
                "Leave the option out for all operations."
            )
        for name in self.operations:
            if name not in OPERATIONS:
                raise UnknownNameError(
                    "operation of data.augment.rand_augment.operations", name, OPERATIONS
                )

    def accepts(self, conversation: Conversation | None) -> bool:
        """Return whether no text gives coordinates, which would become wrong."""
        return conversation is None or not gives_coordinates(conversation)

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change uint8 (..., H, W, 3)."""
        if self.magnitude == 0:
            return pixels
        for _ in range(self.count):
            name = self.operations[rng.integers(len(self.operations))]
            signed = self.magnitude / 10 * (1 if rng.random() < 0.5 else -1)
            if name in _MAPS:
                height, width = pixels.shape[-3:-1]
                pixels = warp(pixels, _MAPS[name](signed, height, width), fill=self.fill)
            else:
                pixels = _COLOURS[name](pixels, signed)
        return pixels


def _sharpen(pixels: np.ndarray, factor: float) -> np.ndarray:
    smooth = each_frame(pixels, lambda one: one.filter(ImageFilter.SMOOTH)).astype(np.float32)
    changed = smooth + np.float32(factor) * (pixels - smooth)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def _by_channel(pixels: np.ndarray, table_of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Replace every value by its entry in a table made from the channel's histogram."""
    changed = np.empty_like(pixels)
    for channel in range(3):
        values = pixels[..., channel]
        table = table_of(np.bincount(values.ravel(), minlength=256))
        changed[..., channel] = table[values]
    return changed


def _stretched(histogram: np.ndarray) -> np.ndarray:
    """Return uint8 (256,) that sends the darkest value in use to 0 and the brightest to 255."""
    used = np.flatnonzero(histogram)
    low, high = int(used[0]), int(used[-1])
    if low == high:
        return np.arange(256, dtype=np.uint8)
    return np.clip(np.rint((np.arange(256) - low) * 255 / (high - low)), 0, 255).astype(np.uint8)


def _flattened(histogram: np.ndarray) -> np.ndarray:
    """Return uint8 (256,) that spreads the values evenly, the darkest in use to 0."""
    below = np.cumsum(histogram)
    first = int(below[np.flatnonzero(histogram)[0]])
    rest = int(below[-1]) - first
    if rest == 0:
        return np.arange(256, dtype=np.uint8)
    return np.clip(np.rint((below - first) * 255 / rest), 0, 255).astype(np.uint8)
