"""Raise or lower a sound's pitch and keep its length: a phase vocoder, then resampling.

The vocoder (Laroche and Dolson 1999, with identity phase locking) stretches the sound in time by
the factor of the pitch, and resampling by the same factor brings back its length.

Letters: L samples, F frequency bins, T frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from hocket.data.augment import SoundAugmentation, augmentations
from hocket.data.augment._numbers import Share
from hocket.data.augment._sound import resampled

_WINDOW_SECONDS = 0.064
_OVERLAP = 4


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Pitch(SoundAugmentation):
    """Uniform shift in semitones; the formants move with it.

    Attributes:
        chance: share of the sounds that are changed.
        semitones: largest shift in both directions.
    """

    off: ClassVar[Mapping[str, Any]] = {"semitones": 0.0}
    chance: Share = 1.0
    semitones: Annotated[float, Field(ge=0, le=24, allow_inf_nan=False)] = 3.0

    def __call__(
        self, wave: np.ndarray, rng: np.random.Generator, *, limit: int | None, rate: int
    ) -> np.ndarray:
        """Change float32 (L,) and keep its length."""
        # Drawn only where it decides, so that a chance of 1 gives what it gave without one.
        if self.chance < 1 and rng.random() >= self.chance:
            return wave
        factor = 2 ** (rng.uniform(-self.semitones, self.semitones) / 12)
        if factor == 1:
            return wave
        slower = stretched(wave, factor, window=window_samples(rate))
        return resampled_to(slower, factor, len(wave))


def window_samples(rate: int) -> int:
    """Return the samples of the vocoder's window, a power of two, at so many a second."""
    return 1 << max(4, round(rate * _WINDOW_SECONDS).bit_length() - 1)


def resampled_to(wave: np.ndarray, factor: float, count: int) -> np.ndarray:
    """Return float32 (count,): the sound played faster, its end cut or filled with silence."""
    played = resampled(wave, factor)[:count]
    return np.pad(played, (0, count - len(played)))


def stretched(wave: np.ndarray, factor: float, *, window: int) -> np.ndarray:
    """Return float32 (L * factor,): the sound slower by a factor, at the same pitch.

    Args:
        wave: float32 (L,).
        factor: how much longer the result is.
        window: samples of a window, a power of two.
    """
    hop = window // _OVERLAP
    # Silence on either side: half a window before the first centre, and one hop to look back.
    padded = np.pad(wave, (window + hop, 2 * window))
    at = np.arange(0, len(wave) + window, hop / factor).astype(np.int64) + hop
    spectrum, earlier = (_spectra(padded, places, window) for places in (at, at - hop))
    angle = np.angle(spectrum)
    usual = 2 * np.pi * hop * np.arange(window // 2 + 1) / window
    extra = angle - np.angle(earlier) - usual
    advance = usual + extra - 2 * np.pi * np.rint(extra / (2 * np.pi))
    turns = _turns(np.abs(spectrum), angle, advance)
    joined = _join(spectrum * np.exp(1j * turns), window, hop)
    # The first sample lies half a window behind the centre of the first frame, stretched.
    start = round(window / 2 * (1 + factor))
    return joined[start : start + max(1, round(len(wave) * factor))]


def _turns(size: np.ndarray, angle: np.ndarray, advance: np.ndarray) -> np.ndarray:
    """Return float (T, F): by how much each bin is turned so that every partial runs on.

    The bins around a peak turn with it (identity phase locking), so that a partial keeps its
    shape; without, it would lose loudness and sound as in a hall.
    """
    turns = np.zeros_like(angle)
    for frame in range(1, len(angle)):
        now = size[frame]
        higher = (now[1:-1] > now[:-2]) & (now[1:-1] >= now[2:])
        peaks = np.flatnonzero(higher) + 1
        if len(peaks):
            before = angle[frame - 1, peaks] + turns[frame - 1, peaks]
            turn = before + advance[frame, peaks] - angle[frame, peaks]
            borders = (peaks[1:] + peaks[:-1] + 1) // 2
            turns[frame] = np.repeat(turn, np.diff([0, *borders, len(now)]))
    return turns


def _spectra(wave: np.ndarray, places: np.ndarray, window: int) -> np.ndarray:
    """Return complex (T, F): the spectra of the windows that begin at some places."""
    frames = wave[places[:, None] + np.arange(window)]
    return np.fft.rfft(frames * np.hanning(window + 1)[:-1].astype(np.float32), axis=1)


def _join(spectrum: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Return float32 of overlapping frames added up, each weighted by the window again."""
    shape = np.hanning(window + 1)[:-1]
    frames = np.fft.irfft(spectrum, window, axis=1) * shape
    total = np.zeros((len(frames) + _OVERLAP - 1) * hop)
    weight = np.zeros_like(total)
    for part in range(_OVERLAP):
        piece = slice(part * hop, (part + 1) * hop)
        place = slice(part * hop, (part + len(frames)) * hop)
        total[place] += frames[:, piece].ravel()
        weight[place] += np.tile(shape[piece] ** 2, len(frames))
    return (total / np.maximum(weight, 1e-3)).astype(np.float32)
