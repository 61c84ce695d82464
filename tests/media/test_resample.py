"""Two ways to another rate: lengths, spectra, and the exact formula of the second."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soxr

from hocket.media.audio import Audio
from hocket.media.resample import resample, resampled_length

RATES = [(8000, 16000), (44100, 16000), (48000, 16000), (22050, 16000), (16000, 24000)]


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(samples).astype(np.float32)


def naive(wave: np.ndarray, source: int, target: int) -> np.ndarray:
    """The formula of torchaudio's `Resample`, sample by sample in double precision."""
    cutoff = min(source, target) * 0.99
    outputs = []
    for number in range(math.ceil(len(wave) * target / source)):
        seconds = np.arange(len(wave)) / source - number / target
        crossings = np.clip(seconds * cutoff, -6, 6)
        window = np.cos(crossings * np.pi / 12) ** 2
        outputs.append((wave * np.sinc(crossings) * window).sum() * cutoff / source)
    return np.array(outputs)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_sinc_is_the_formula_of_torchaudio(source: int, target: int) -> None:
    wave = noise(701)
    own = resample(wave, source, target, "sinc")
    assert own.dtype == np.float32
    np.testing.assert_allclose(own, naive(wave, source, target), atol=2e-6)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_soxr_is_soxr(source: int, target: int) -> None:
    wave = noise(701)
    expected = soxr.resample(wave, source, target, quality="HQ")
    assert np.array_equal(resample(wave, source, target, "soxr"), expected)


@pytest.mark.parametrize("resampler", ["soxr", "sinc"])
def test_the_header_tells_the_length(resampler: str) -> None:
    for samples in (3, 100, 999, 16001):
        for source, target in RATES:
            audio = Audio.from_array(noise(samples), rate=source)
            frames = audio.frames(target, resampler=resampler)  # type: ignore[arg-type] # one of the two
            assert frames == len(audio.load(target, resampler=resampler))  # type: ignore[arg-type] # as above
    assert resampled_length(101, 2, 1, "soxr") == 50
    assert resampled_length(101, 2, 1, "sinc") == 51


def test_rates_without_a_common_divisor_and_long_sounds_need_no_large_table() -> None:
    wave = np.sin(np.arange(600_000) * 0.01).astype(np.float32)
    assert len(resample(wave[:50000], 44101, 16000, "sinc")) == math.ceil(50000 * 16000 / 44101)
    slow = resample(wave, 48000, 16000, "sinc")
    # What is longer than a block of the filter has no seam.
    assert np.abs(slow[50:-50] - wave[::3][50:-50]).max() < 2e-3


def test_the_same_rate_changes_nothing() -> None:
    wave = noise(10)
    assert resample(wave, 16000, 16000, "sinc") is wave
