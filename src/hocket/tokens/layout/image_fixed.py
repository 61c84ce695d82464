"""One picture, one square unit: squash, crop or pad to the encoder's size.

``squash`` is SigLIP's preprocessing, ``crop`` is CLIP's, ``pad`` is LLaVA-1.5's
(``image_aspect_ratio=pad``: a square filled with the mean colour, then CLIP's).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image as Pil

from hocket._errors import ConfigError
from hocket.tokens.layout import layouts
from hocket.tokens.span import Plan


class Fit(StrEnum):
    """How a picture that is not square becomes square."""

    SQUASH = "squash"
    CROP = "crop"
    PAD = "pad"


class Filter(StrEnum):
    """Resampling filter of the resize, by PIL's names."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFixed:
    """Resize every picture to one square.

    Attributes:
        size: side of the square in pixels.
        patch: side of an encoder patch in pixels.
        rows_per_unit: language-model rows of one picture, filled in from the connector.
        extra_rows: learned rows beside them for each medium, filled in from the connector.
        frame_pool: video frames that share their rows, filled in from the connector.
        after: texts behind the rows of each picture or frame, tokenised one by one.
        fit: how a picture that is not square becomes square.
        resample: filter of the resize.
        mean: per-channel mean, subtracted after scaling to 0..1.
        std: per-channel standard deviation, divided by.
    """

    size: int = 224
    patch: int = 14
    rows_per_unit: int = 0
    extra_rows: int = 0
    frame_pool: int = 1
    after: tuple[str, ...] = ()
    fit: Fit = Fit.SQUASH
    resample: Filter = Filter.BICUBIC
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        """Check that the numbers describe pictures.

        Raises:
            ConfigError: a patch is empty or larger than the picture, or a deviation is zero.
        """
        if not 1 <= self.patch <= self.size:
            raise ConfigError(
                f"layout 'image_fixed': patch is {self.patch} and size is {self.size}, expected "
                "1 <= patch <= size."
            )
        if min(self.std) <= 0:
            raise ConfigError(
                f"layout 'image_fixed': std is {list(self.std)}, expected numbers above 0."
            )

    def plan(self, height: int, width: int, *, frames: int | None = None, media: int = 1) -> Plan:
        """Return one unit per picture or frame, whatever its size."""
        side = self.size // self.patch
        rows = self.rows_per_unit or side * side
        one = Plan(units=1, patches=(side, side), rows=rows, grid=_grid(rows))
        plan = one if frames is None else one.repeat(frames, pool=self.frame_pool)
        return plan.with_learned(self.extra_rows)

    def units(self, frames: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn uint8 (N, H, W, 3) into float32 (N, 3, size, size)."""
        return np.stack([self._unit(pixels) for pixels in frames])

    def _unit(self, pixels: np.ndarray) -> np.ndarray:
        """Turn uint8 (H, W, 3) into float32 (3, size, size)."""
        square = self._square(pixels)
        # Rescaled in float64 and rounded once, as transformers' own processors do.
        scaled = (square.astype(np.float64) * (1 / 255)).astype(np.float32)
        mean = np.asarray(self.mean, dtype=np.float32)
        std = np.asarray(self.std, dtype=np.float32)
        return np.ascontiguousarray(((scaled - mean) / std).transpose(2, 0, 1))

    def _square(self, pixels: np.ndarray) -> np.ndarray:
        """Return uint8 (size, size, 3)."""
        size = self.size
        if self.fit is Fit.SQUASH:
            return self._resize(pixels, size, size)
        if self.fit is Fit.PAD:
            pixels = _pad_to_square(pixels, self.mean)
        height, width = pixels.shape[:2]
        short, long = min(height, width), max(height, width)
        far = int(size * long / short)
        resized = self._resize(pixels, *((size, far) if height <= width else (far, size)))
        top, left = (resized.shape[0] - size) // 2, (resized.shape[1] - size) // 2
        return resized[top : top + size, left : left + size]

    def _resize(self, pixels: np.ndarray, height: int, width: int) -> np.ndarray:
        if pixels.shape[:2] == (height, width):
            return pixels
        picture = Pil.fromarray(pixels)
        return np.asarray(picture.resize((width, height), Pil.Resampling[self.resample.upper()]))


def _grid(rows: int) -> tuple[int, int, int]:
    side = round(rows**0.5)
    return (1, side, side) if side * side == rows else (1, 1, rows)


def _pad_to_square(pixels: np.ndarray, mean: tuple[float, float, float]) -> np.ndarray:
    """Centre the picture on a square of the mean colour (LLaVA's ``expand2square``)."""
    height, width = pixels.shape[:2]
    if height == width:
        return pixels
    side = max(height, width)
    colour = np.array([int(channel * 255) for channel in mean], dtype=np.uint8)
    square = np.broadcast_to(colour, (side, side, 3)).copy()
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square
