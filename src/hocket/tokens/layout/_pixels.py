"""Pixels: resizing, squaring, cutting and normalising, shared by the layouts of pictures.

Every function takes and returns uint8 (H, W, 3) unless it says otherwise.

Letters: H and W pixels, S side of a tile, N tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum

import numpy as np
from einops import rearrange
from PIL import Image as Pil

from hocket._errors import ConfigError

Colour = tuple[float, float, float]
# What RADIO fills pictures up with.
_GREY = 0.456


class Fit(StrEnum):
    """How a picture that is not square becomes square.

    ``longest`` is RADIO's rule: the longer edge gets the size, and grey (0.456 of white) fills the
    square below or to the right. The original fills up to a multiple of the patch only, so that
    every picture has a grid of its own; here they share the square's.
    """

    SQUASH = "squash"
    CROP = "crop"
    PAD = "pad"
    LONGEST = "longest"


class Filter(StrEnum):
    """Resampling filter of the resize, by PIL's names."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


def check_numbers(kind: str, *, size: int, patch: int, std: Colour) -> None:
    """Check the options that every layout of pictures has.

    Raises:
        ConfigError: a patch is empty or larger than the picture, or a deviation is zero.
    """
    if not 1 <= patch <= size:
        raise ConfigError(
            f"layout {kind!r}: patch is {patch} and size is {size}, expected 1 <= patch <= size."
        )
    if min(std) <= 0:
        raise ConfigError(f"layout {kind!r}: std is {list(std)}, expected numbers above 0.")


def rows_grid(rows: int, tiles: tuple[int, int] = (1, 1)) -> tuple[int, int, int]:
    """Return what the rows of tiles show as (1, height, width), where a tile's rows are square.

    Args:
        rows: rows of one tile.
        tiles: (rows, columns) of the tiles.
    """
    down, across = tiles
    side = math.isqrt(rows)
    if side * side == rows:
        return (1, down * side, across * side)
    return (1, down * across, rows)


def resize(pixels: np.ndarray, height: int, width: int, resample: Filter) -> np.ndarray:
    """Resize without keeping the aspect; a picture that has the size already is not touched."""
    if pixels.shape[:2] == (height, width):
        return pixels
    picture = Pil.fromarray(pixels)
    return np.asarray(picture.resize((width, height), Pil.Resampling[resample.upper()]))


def to_square(
    pixels: np.ndarray, size: int, *, fit: Fit, resample: Filter, mean: Colour
) -> np.ndarray:
    """Return (size, size, 3): squashed, cropped from the centre, or padded with the mean colour."""
    if fit is Fit.SQUASH:
        return resize(pixels, size, size, resample)
    if fit is Fit.LONGEST:
        return _longest_edge(pixels, size, resample)
    if fit is Fit.PAD:
        pixels = _pad_to_square(pixels, mean)
    height, width = pixels.shape[:2]
    short, long = min(height, width), max(height, width)
    far = int(size * long / short)
    resized = resize(pixels, *((size, far) if height <= width else (far, size)), resample)
    top, left = (resized.shape[0] - size) // 2, (resized.shape[1] - size) // 2
    return resized[top : top + size, left : left + size]


def _longest_edge(pixels: np.ndarray, size: int, resample: Filter) -> np.ndarray:
    """Resize so that the longer edge has the size, and fill the square with grey."""
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    high, wide = (max(1, int(side * scale + 0.5)) for side in (height, width))
    square = np.full((size, size, 3), round(_GREY * 255), dtype=np.uint8)
    square[:high, :wide] = resize(pixels, high, wide, resample)
    return square


def centre_on_black(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return (height, width, 3) with the picture in the middle."""
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def cut(pixels: np.ndarray, size: int) -> np.ndarray:
    """Cut a picture whose sides are multiples of `size` into (N, S, S, 3), row by row."""
    return rearrange(pixels, "(r h) (c w) d -> (r c) h w d", h=size, w=size)


def normalise(pixels: np.ndarray, *, mean: Colour, std: Colour) -> np.ndarray:
    """Return float32 (3, H, W), scaled to 0..1, minus the mean, over the deviation."""
    # The same for all 256 values as transformers' processors, which rescale in float64 and round;
    # in one array, since the memory of each further one takes longer than its arithmetic.
    planes = np.empty((3, *pixels.shape[:2]), dtype=np.float32)
    planes[...] = pixels.transpose(2, 0, 1)
    planes /= np.float32(255)
    planes -= np.asarray(mean, dtype=np.float32)[:, None, None]
    planes /= np.asarray(std, dtype=np.float32)[:, None, None]
    return planes


def normalise_all(pictures: Iterable[np.ndarray], *, mean: Colour, std: Colour) -> np.ndarray:
    """Return float32 (N, 3, H, W) of N pictures of one size, see `normalise`."""
    shown = [normalise(pixels, mean=mean, std=std) for pixels in pictures]
    return shown[0][None] if len(shown) == 1 else np.stack(shown)


def _pad_to_square(pixels: np.ndarray, mean: Colour) -> np.ndarray:
    """Centre the picture on a square of the mean colour (LLaVA's ``expand2square``)."""
    height, width = pixels.shape[:2]
    if height == width:
        return pixels
    side = max(height, width)
    colour = np.array([int(channel * 255) for channel in mean], dtype=np.uint8)
    # Whole rows at once: numpy copies three bytes at a time twenty times as slowly.
    square = np.empty((side, side, 3), dtype=np.uint8)
    square.reshape(side, -1)[:] = np.tile(colour, side)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square
