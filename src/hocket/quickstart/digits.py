"""Scanned handwritten digits from scikit-learn: reading, splitting and drawing them.

Knows scikit-learn and pixels; must not know files, questions or models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image
from einops import repeat

from hocket._errors import ConfigError, MissingExtraError
from hocket.data.seed import generator

Gray: TypeAlias = npt.NDArray[np.uint8]
Rgb: TypeAlias = npt.NDArray[np.uint8]
Indices: TypeAlias = npt.NDArray[np.int64]

_MAX_INK = 16


@dataclass(frozen=True, slots=True, eq=False)
class Scans:
    """The scans and what they show.

    Attributes:
        ink: uint8 (N, 8, 8), 0 for bare paper to 16 for full ink.
        labels: int64 (N,), the digits 0 to 9.
    """

    ink: Gray
    labels: Indices


def load_scans() -> Scans:
    """Return the 1,797 scans that come inside scikit-learn.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "quickstart") from error
    bunch = load_digits()
    return Scans(bunch.images.astype(np.uint8), bunch.target.astype(np.int64))


def split_scans(
    labels: Indices, *, seed: int, heldout_share: float = 0.2
) -> tuple[Indices, Indices]:
    """Divide scans into training and held-out ones, each digit in the same proportion.

    Args:
        labels: int64 (N,), the digit on each scan.
        seed: seed of the choice.
        heldout_share: share of each digit's scans that is held out, above 0 and below 1.

    Returns:
        Two shuffled arrays of scan numbers, training and held-out, that share none.

    Raises:
        ConfigError: a share outside its range.
    """
    if not 0 < heldout_share < 1:
        raise ConfigError(f"heldout_share is {heldout_share}; expected above 0 and below 1.")
    train, heldout = [], []
    for label in np.unique(labels):
        order = np.flatnonzero(labels == label)
        order = order[generator(seed, "digit split", int(label)).permutation(len(order))]
        count = round(len(order) * heldout_share)
        heldout.append(order[:count])
        train.append(order[count:])
    mixed = generator(seed, "digit order")
    return mixed.permutation(np.concatenate(train)), mixed.permutation(np.concatenate(heldout))


def draw(ink: Gray, *, side: int = 32) -> Rgb:
    """Draw one scan in dark ink on white paper.

    Args:
        ink: uint8 (8, 8), 0 to 16.
        side: height and width of the picture in pixels.

    Returns:
        uint8 (side, side, 3), the scan enlarged by bicubic interpolation.
    """
    paper = np.round(255 - ink * (255 / _MAX_INK)).astype(np.uint8)
    large = PIL.Image.fromarray(paper).resize((side, side), PIL.Image.Resampling.BICUBIC)
    return repeat(np.asarray(large, np.uint8), "h w -> h w c", c=3)
