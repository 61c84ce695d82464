"""Another number of samples per second.

Two ways: ``soxr`` is clean to below the noise of 16-bit sound; ``sinc`` is the formula of
torchaudio's ``Resample`` with its defaults, which lets through a little of what lies beyond half
the lower rate. Encoders that were trained on the second see the difference: for sound recorded at
8 kHz, the upper half of their filter banks holds nothing else.

Letters: L samples, K taps of the filter.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

Wave: TypeAlias = npt.NDArray[np.float32]
Resampler: TypeAlias = Literal["soxr", "sinc"]

# torchaudio's defaults: zero crossings on each side, and the cut-off below half the lower rate.
_CROSSINGS = 6
_ROLLOFF = 0.99
# Output samples that are filtered at once.
_BLOCK = 1 << 18


def resampled_length(samples: int, source: int, target: int, resampler: Resampler) -> int:
    """Return how many samples `resample` returns, give or take what soxr rounds differently."""
    exact = Fraction(samples * target, source)
    # soxr rounds half to even, as round() does on a Fraction
    return round(exact) if resampler == "soxr" else math.ceil(exact)


def resample(wave: Wave, source: int, target: int, resampler: Resampler) -> Wave:
    """Turn float32 (L,) at `source` Hz into float32 at `target` Hz."""
    if source == target:
        return wave
    if resampler == "soxr":
        return np.asarray(soxr.resample(wave, source, target, quality="HQ"), np.float32)
    common = math.gcd(source, target)
    return _sinc(wave, source // common, target // common)


def _sinc(wave: Wave, source: int, target: int) -> Wave:
    """Filter with a sinc under Hann's window; output sample j stands at input j * source / target.

    The distance of an output sample from its inputs repeats after `target` samples.
    """
    starts, taps = _filters(source, target)
    total = math.ceil(Fraction(len(wave) * target, source))
    rounds = -(-total // target)
    front = -int(starts.min())
    last = (rounds - 1) * source + int(starts.max()) + taps.shape[1]
    padded = np.pad(wave.astype(np.float32), (front, max(0, last - len(wave))))
    resampled = np.zeros((rounds, target), np.float32)
    step = max(1, _BLOCK // target)
    for first in range(0, rounds, step):
        block = resampled[first : first + step]
        begins = (first + np.arange(len(block)))[:, None] * source + starts + front
        # Tap by tap in single precision, as the original: near-silence shows another order of sums.
        for number, weights in enumerate(taps.T):
            block += padded[begins + number] * weights
    return resampled.reshape(-1)[:total]


@lru_cache(maxsize=8)
def _filters(source: int, target: int) -> tuple[npt.NDArray[np.int64], Wave]:
    """Return the first input (target,) and the taps (target, K) of each phase."""
    cutoff = min(source, target) * _ROLLOFF
    reach = math.ceil(_CROSSINGS * source / cutoff)
    places = np.arange(target) * source / target
    starts = np.floor(places).astype(np.int64) - reach
    inputs = starts[:, None] + np.arange(2 * reach + 2)
    crossings = np.clip(
        (inputs - places[:, None]) * cutoff / source, -float(_CROSSINGS), float(_CROSSINGS)
    )
    window = np.cos(crossings * np.pi / (2 * _CROSSINGS)) ** 2
    taps = np.sinc(crossings) * window * cutoff / source
    return starts, taps.astype(np.float32)
