"""Sound as Kaldi filter banks in blocks, as VITA's audio encoder takes it.

Every 10 ms a frame of 25 ms: the mean is taken out, samples are pre-emphasised by 0.97 and weighed
by Povey's window (Hann's to the power of 0.85), and the power spectrum goes through triangles that
are even on the mel scale ``1127 ln(1 + f / 700)``; features are natural logarithms. Frames that
would reach beyond the sound are left out (Kaldi's "snip edges"), nothing random is added (dither
0), and samples count as 16-bit integers. The originals are torchaudio's ``kaldi.fbank`` and VITA.

An encoder with strided convolutions reads `encoder_window` frames for its first position and
`encoder_stride` more for each further one. A unit is a block of so many positions with all frames
they read, so blocks overlap by `encoder_window` - `encoder_stride` frames and the encoder joins
the positions of a sound without a seam: its length costs no padding but the last block's.

Letters: L samples, U units, M mel bins, T frames of the sound, F frames of a unit.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hocket._errors import ConfigError, MediaError
from hocket.media.audio import Mix
from hocket.media.resample import Resampler
from hocket.tokens.layout import layouts
from hocket.tokens.layout._sound_rows import count_rows, most_frames
from hocket.tokens.span import Plan

EMPHASIS = 0.97
INTEGER = 32768.0
_AT_LEAST_ONE = ("rate", "mels", "block", "encoder_stride", "encoder_window", "frames_per_row")


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFbank:
    """Cut a sound into blocks of filter-bank frames.

    Attributes:
        rate: samples per second the encoder expects.
        resampler: how sounds get that rate: ``sinc`` as torchaudio's default, or ``soxr``.
        mix: what several channels become: ``mean``, or ``first`` as torchaudio's features take it.
        mels: mel bins.
        low_hz: where the lowest filter begins.
        high_hz: where the highest filter ends.
        window: weights of the samples of a frame: ``povey``, or ``hann`` as AST has them.
        integer: whether samples count as 16-bit integers, or from -1 to 1.
        mean: subtracted from the logarithms, silence behind the sound included.
        std: divided by.
        block: encoder positions of one unit.
        encoder_stride: frames from one encoder position to the next.
        encoder_window: frames that one encoder position reads.
        max_positions: encoder positions of the longest sound; 0 for no limit.
        rest: whether frames that fill no position any more are kept, for an encoder that takes no
            mask and hears them.
        frames_per_row: encoder positions per language-model row, filled in from the connector.
        drop_rest: whether positions that fill no row are dropped, filled in from the connector.
        rows_per_unit: rows of every unit, however much of it is padding; 0 counts them by
            `frames_per_row`. Filled in from the connector.
        extra_rows: learned rows of every sound, filled in from the connector.
        trim: drop the rows that hold only padding; without, the last unit is filled with silence.
    """

    rate: int = 16000
    resampler: Resampler = "sinc"
    mix: Mix = "mean"
    mels: int = 80
    low_hz: float = 20.0
    high_hz: float = 8000.0
    window: Literal["povey", "hann"] = "povey"
    integer: bool = True
    mean: float = 0.0
    std: float = 1.0
    block: int = 24
    encoder_stride: int = 4
    encoder_window: int = 7
    max_positions: int = 0
    rest: bool = False
    frames_per_row: int = 1
    drop_rest: bool = False
    rows_per_unit: int = 0
    extra_rows: int = 0
    trim: bool = True

    def __post_init__(self) -> None:
        """Check that the numbers describe sounds.

        Raises:
            ConfigError: a number is too small, or the filters have no room below half the rate.
        """
        numbers = dataclasses.asdict(self)
        for name in _AT_LEAST_ONE:
            if (value := numbers[name]) < 1:
                raise ConfigError(f"layout 'audio_fbank': {name} is {value}, expected 1 or more.")
        if self.encoder_window < self.encoder_stride:
            raise ConfigError(
                f"layout 'audio_fbank': encoder_window {self.encoder_window} is less than "
                f"encoder_stride {self.encoder_stride}, so frames would be lost. Raise it."
            )
        if self.std <= 0:
            raise ConfigError(f"layout 'audio_fbank': std is {self.std}, expected above 0.")
        if not 0 <= self.low_hz < self.high_hz <= self.rate / 2:
            raise ConfigError(
                f"layout 'audio_fbank': filters from {self.low_hz} to {self.high_hz} Hz, expected "
                f"0 <= low_hz < high_hz <= {self.rate / 2}, half the rate."
            )

    @property
    def width(self) -> int:
        """Samples of a frame: 25 ms."""
        return self.rate * 25 // 1000

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: 10 ms."""
        return self.rate // 100

    def frames(self, samples: int) -> int:
        """Return T, the frames that lie inside so many samples."""
        return max(0, 1 + (samples - self.width) // self.hop)

    def plan(self, samples: int) -> Plan:
        """Return blocks, valid encoder positions and rows of that many samples.

        Raises:
            MediaError: the sound has more positions than the encoder.
        """
        inner = self.frames(samples) - self.encoder_window
        total = max(1, inner // self.encoder_stride + 1)
        if 0 < self.max_positions < total:
            longest = self._samples(self.max_positions) / self.rate
            raise MediaError(
                f"a sound of {samples / self.rate:.1f} s is longer than the audio encoder reads: "
                f"{total} positions, at most {self.max_positions} ({longest:.1f} s). "
                "Cut it into shorter sounds."
            )
        units = -(-total // self.block)
        valid = [self.block] * units
        if self.trim:
            valid[-1] = total - (units - 1) * self.block
        rows = count_rows(self, valid)
        return Plan(
            units=units,
            patches=(1, self.block),
            rows=rows,
            grid=(rows, 1, 1),
            valid=tuple(valid),
        )

    def capacity(self, plan: Plan) -> int:
        """Return the longest sound, in samples, that keeps the plan's rows."""
        last = most_frames(self, self.lengths(plan)[-1], self.block)
        total = (plan.units - 1) * self.block + last
        if self.max_positions:
            total = min(total, self.max_positions)
        return self._samples(total + 1) - 1

    def lengths(self, plan: Plan) -> list[int]:
        """Return the encoder positions of each unit that are not padding."""
        return list(plan.valid or [plan.patches[1]] * plan.units)

    def units(self, wave: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn float32 (L,) in -1..1 into log filter banks, float32 (U, M, F).

        A sound that is shorter than its plan, such as one below 85 ms, is followed by silence.
        """
        needed = self._samples(sum(self.lengths(plan)))
        full = self._samples(plan.units * self.block)
        heard = wave[: max(needed, full) if self.rest else needed]
        padded = np.pad(heard, (0, max(0, needed - len(heard))))
        bank = log_fbank(
            torch.from_numpy(padded),
            mels=self.mels,
            rate=self.rate,
            low_hz=self.low_hz,
            high_hz=self.high_hz,
            window=self.window,
            integer=self.integer,
        )
        step = self.block * self.encoder_stride
        size = step - self.encoder_stride + self.encoder_window
        missing = (plan.units - 1) * step + size - len(bank)
        bank = torch.nn.functional.pad(bank, (0, 0, 0, missing))
        if (self.mean, self.std) != (0.0, 1.0):
            bank = (bank - self.mean) / self.std
        return bank.unfold(0, size, step).contiguous().numpy()

    def _samples(self, positions: int) -> int:
        """Return the fewest samples that make so many encoder positions."""
        frames = (positions - 1) * self.encoder_stride + self.encoder_window
        return self.width + (frames - 1) * self.hop


def log_fbank(
    wave: Tensor,
    *,
    mels: int,
    rate: int,
    low_hz: float,
    high_hz: float,
    window: Literal["povey", "hann"] = "povey",
    integer: bool = True,
) -> Tensor:
    """Return Kaldi's log filter banks.

    Args:
        wave: float32 (L,) in -1..1, at least 25 ms.
        mels: mel bins.
        rate: samples per second.
        low_hz: where the lowest filter begins.
        high_hz: where the highest filter ends.
        window: weights of the samples of a frame.
        integer: whether samples count as 16-bit integers.

    Returns:
        float32 (T, mels).
    """
    size, hop = rate * 25 // 1000, rate // 100
    samples = wave.to(torch.float32) * (INTEGER if integer else 1.0)
    frames = samples.unfold(0, size, hop)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    weights = torch.hann_window(size, periodic=False).pow(0.85 if window == "povey" else 1.0)
    length = 1 << (size - 1).bit_length()
    power = torch.fft.rfft((frames - EMPHASIS * before) * weights, n=length).abs().square()
    triangles = _triangles(mels, rate, length, low_hz, high_hz)
    return (power[:, :-1] @ triangles).clamp(min=torch.finfo(torch.float32).eps).log()


@lru_cache(maxsize=4)
def _triangles(mels: int, rate: int, length: int, low_hz: float, high_hz: float) -> Tensor:
    """Return float32 (length / 2, mels): filters with straight sides on the mel scale.

    Single precision throughout, as the original: near-silent bins would show the difference.
    """
    low, high = (1127.0 * math.log(1.0 + hertz / 700.0) for hertz in (low_hz, high_hz))
    corners = low + torch.arange(mels + 2, dtype=torch.float32) * ((high - low) / (mels + 1))
    hertz = rate / length * torch.arange(length // 2, dtype=torch.float32)
    places = 1127.0 * (1.0 + hertz / 700.0).log()[:, None]
    rising = (places - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - places) / (corners[2:] - corners[1:-1])
    return torch.minimum(rising, falling).clamp(min=0.0)
