"""Arithmetic on sounds that several augmentations share.

Letters: L samples, K samples of an impulse response.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import soxr

from hocket._errors import ConfigError
from hocket.media.audio import Audio

NoiseColour = Literal["white", "pink"]


def power(wave: np.ndarray) -> float:
    """Return the mean square of a sound."""
    return float(np.mean(np.square(wave, dtype=np.float64)))


def mix(wave: np.ndarray, background: np.ndarray, *, ratio_db: float) -> np.ndarray:
    """Lay a background over a sound; where one of the two is silent, the sound stays as it is.

    Args:
        wave: float32 (L,).
        background: float32 (L,), at any level.
        ratio_db: power of the sound over that of the background, in decibels.

    Returns:
        float32 (L,).
    """
    own, other = power(wave), power(background)
    if own == 0 or other == 0:
        return wave
    factor = np.sqrt(own / other) * 10 ** (-ratio_db / 20)
    return wave + np.float32(factor) * background


def noise(rng: np.random.Generator, count: int, colour: NoiseColour) -> np.ndarray:
    """Return float32 (count,) of unit power: equal for each hertz (white) or octave (pink)."""
    white = rng.standard_normal(count, dtype=np.float32)
    if colour == "white" or count < 3:
        return white
    spectrum = np.fft.rfft(white)
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    pink = np.fft.irfft(spectrum, count)
    return (pink / np.sqrt(power(pink))).astype(np.float32)


def stretch_to(wave: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a random piece of so many samples out of a sound that is repeated for ever."""
    start = int(rng.integers(len(wave)))
    return np.take(wave, np.arange(start, start + count), mode="wrap")


def convolve(wave: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    """Return float32 (L,): a sound in a room that answers with an impulse response (K,)."""
    total = len(wave) + len(impulse) - 1
    size = 1 << (total - 1).bit_length()
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(impulse, size)
    return np.fft.irfft(spectrum, size)[: len(wave)].astype(np.float32)


def resampled(wave: np.ndarray, factor: float) -> np.ndarray:
    """Return float32 (L / factor,), at least one sample: the sound played so much faster."""
    count = max(1, int(len(wave) / factor))
    played = np.asarray(soxr.resample(wave, factor, 1.0, quality="HQ"), np.float32)
    return np.pad(played[:count], (0, max(0, count - len(played))))


@lru_cache(maxsize=8)
def recordings(option: str, folder: str) -> tuple[Path, ...]:
    """Return the WAV files of a folder and the folders in it, sorted by their path.

    Args:
        option: where the folder was named, such as ``noise.folder``, for the message.
        folder: where the files are.

    Raises:
        ConfigError: there are none.
    """
    found = tuple(sorted(Path(folder).rglob("*.wav")))
    if not found:
        raise ConfigError(
            f"data.augment.{option}: no WAV file in {folder!r}. Name a folder of .wav files."
        )
    return found


@lru_cache(maxsize=16)
def recorded(file: Path, rate: int) -> np.ndarray:
    """Return a recording, float32 (L,), that must not be written to.

    Raises:
        MediaError: the file cannot be decoded.
    """
    wave = Audio.from_path(file).load(rate)
    wave.setflags(write=False)
    return wave
