"""Arithmetic on pictures that several augmentations share.

Letters: N frames, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image as Pil

LUMA = np.array([0.299, 0.587, 0.114])
MEAN = (122, 116, 104)
"""The mean colour of CLIP's training pictures: what padded pictures are filled with as well."""
# Luma and two axes of colour at right angles to it (YIQ).
_YIQ = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])

Coefficients = tuple[float, float, float, float, float, float]


def each_frame(pixels: np.ndarray, change: Callable[[Pil.Image], Pil.Image]) -> np.ndarray:
    """Apply a change that keeps the size to a picture or to every frame.

    Args:
        pixels: uint8 (..., H, W, 3).
        change: a function of one picture.

    Returns:
        uint8 (..., H, W, 3).
    """
    frames = pixels.reshape(-1, *pixels.shape[-3:])
    changed = [np.asarray(change(Pil.fromarray(frame))) for frame in frames]
    return np.stack(changed).reshape(pixels.shape)


def warp(
    pixels: np.ndarray, coefficients: Coefficients, *, fill: tuple[int, int, int]
) -> np.ndarray:
    """Move every pixel by an affine map, bilinear.

    Args:
        pixels: uint8 (..., H, W, 3).
        coefficients: (a, b, c, d, e, f): the result at (x, y) is what was at
            (a x + b y + c, d x + e y + f), in pixels from the centre of the picture.
        fill: colour of what comes from outside.

    Returns:
        uint8 (..., H, W, 3).
    """
    a, b, c, d, e, f = coefficients
    height, width = pixels.shape[-3:-1]
    x, y = width / 2, height / 2
    about = (a, b, c + x - a * x - b * y, d, e, f + y - d * x - e * y)
    size, kind = (width, height), Pil.Transform.AFFINE
    return each_frame(
        pixels,
        lambda one: one.transform(size, kind, about, Pil.Resampling.BILINEAR, fillcolor=fill),
    )


def turned(degrees: float) -> Coefficients:
    """Return the map of `warp` that turns a picture against the clock."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (cosine, -sine, 0.0, sine, cosine, 0.0)


def adjust(
    pixels: np.ndarray,
    *,
    brightness: float = 1.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    hue: float = 0.0,
) -> np.ndarray:
    """Change the colours of a picture, or of all frames alike, in one affine map.

    Args:
        pixels: uint8 (..., H, W, 3).
        brightness: factor of every channel.
        contrast: factor of the distance from the mean luma, which all frames share.
        saturation: factor of the distance from the pixel's own luma.
        hue: turn of the colours about the grey axis, luma kept (in YIQ), as a share of a circle.

    Returns:
        uint8 (..., H, W, 3), rounded and clipped once, at the end.
    """
    angle = 2 * math.pi * hue
    turn = np.eye(3)
    turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    grey = np.tile(LUMA, (3, 1))
    matrix = np.linalg.solve(_YIQ, turn @ _YIQ) @ (saturation * np.eye(3) + (1 - saturation) * grey)
    mean = float(mean_colour(pixels) @ LUMA)
    scaled = (brightness * contrast * matrix).T.astype(np.float32)
    offset = np.float32((1 - contrast) * brightness * mean)
    changed = pixels.astype(np.float32) @ scaled + offset
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def mean_colour(pixels: np.ndarray) -> np.ndarray:
    """Return float64 (3,), the mean of uint8 (..., H, W, 3)."""
    width = pixels.shape[-2]
    # Long rows first: summing three columns at a time takes ten times as long.
    columns = pixels.reshape(-1, 3 * width).sum(axis=0, dtype=np.int64)
    return columns.reshape(width, 3).sum(axis=0) * 3 / pixels.size


def draw_box(
    rng: np.random.Generator, height: int, width: int, *, area: tuple[float, float], aspect: float
) -> tuple[float, float, float, float]:
    """Draw a box inside a picture.

    Args:
        rng: where every draw comes from.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        area: smallest and largest share of the picture's area.
        aspect: largest stretch of the box against the picture's own shape, either way.

    Returns:
        top, left, height and width in pixels, none of them rounded.
    """
    share = rng.uniform(*area)
    stretch = math.exp(rng.uniform(-math.log(aspect), math.log(aspect)))
    rows = min(1.0, math.sqrt(share * stretch))
    columns = min(1.0, math.sqrt(share / stretch))
    top, left = rng.uniform(0, 1 - rows), rng.uniform(0, 1 - columns)
    return top * height, left * width, rows * height, columns * width
