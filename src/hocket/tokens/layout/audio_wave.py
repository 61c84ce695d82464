"""Sound as raw samples in blocks, as wav2vec 2.0 and its relatives take it.

A sound gets mean 0 and variance 1 over its own samples, as transformers'
``Wav2Vec2FeatureExtractor`` does. An encoder of strided convolutions reads `encoder_window` samples
for its first frame and `encoder_stride` more for each further one. A unit holds the samples of a
block of frames and those that its neighbour begins with, so blocks overlap; beside every sample
stands a 1, or a 0 where there is none, from which the encoder puts the exact sound together again.

Letters: L samples, U units, N samples of a unit.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from hocket._errors import ConfigError
from hocket.media.audio import Mix
from hocket.media.resample import Resampler
from hocket.tokens.layout import layouts
from hocket.tokens.layout._sound_rows import count_rows, most_frames
from hocket.tokens.span import Plan

RAW_ROWS = 2
"""Rows of a unit: samples, and whether there is one."""

_AT_LEAST_ONE = ("rate", "block", "encoder_stride", "encoder_window", "frames_per_row")


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class AudioWave:
    """Cut a sound into blocks of samples.

    Attributes:
        rate: samples per second the encoder expects.
        resampler: how sounds get that rate: ``soxr``, or ``sinc`` as torchaudio's default.
        mix: what several channels become: ``mean``, or ``first`` as torchaudio's features take it.
        normalise: whether a sound gets mean 0 and variance 1.
        block: encoder frames of one unit.
        encoder_stride: samples from one encoder frame to the next.
        encoder_window: samples that one encoder frame reads.
        frames_per_row: encoder frames per language-model row, filled in from the connector.
        drop_rest: whether frames that fill no row are dropped, filled in from the connector.
        rows_per_unit: rows of every unit, however much of it is padding; 0 counts them by
            `frames_per_row`. Filled in from the connector.
        extra_rows: learned rows of every sound, filled in from the connector.
        trim: drop the rows that hold only padding; without, the last unit is filled with silence.
    """

    rate: int = 16000
    resampler: Resampler = "soxr"
    mix: Mix = "mean"
    normalise: bool = True
    block: int = 48
    encoder_stride: int = 320
    encoder_window: int = 400
    frames_per_row: int = 1
    drop_rest: bool = False
    rows_per_unit: int = 0
    extra_rows: int = 0
    trim: bool = True

    def __post_init__(self) -> None:
        """Check that the numbers describe sounds.

        Raises:
            ConfigError: a number is too small.
        """
        numbers = dataclasses.asdict(self)
        for name in _AT_LEAST_ONE:
            if (value := numbers[name]) < 1:
                raise ConfigError(f"layout 'audio_wave': {name} is {value}, expected 1 or more.")
        if self.encoder_window < self.encoder_stride:
            raise ConfigError(
                f"layout 'audio_wave': encoder_window {self.encoder_window} is less than "
                f"encoder_stride {self.encoder_stride}, so samples would be lost. Raise it."
            )

    def plan(self, samples: int) -> Plan:
        """Return blocks, valid encoder frames and rows of that many samples."""
        total = max(1, (samples - self.encoder_window) // self.encoder_stride + 1)
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
        return self._samples(total + 1) - 1

    def lengths(self, plan: Plan) -> list[int]:
        """Return the encoder frames of each unit that are not padding."""
        return list(plan.valid or [plan.patches[1]] * plan.units)

    def units(self, wave: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn float32 (L,) into float32 (U, 2, N): samples, and 1 where there is one.

        A sound that is shorter than its plan, such as one below 25 ms, is followed by silence.
        """
        total = sum(self.lengths(plan))
        needed = self._samples(total)
        wave = np.pad(wave, (0, max(0, needed - len(wave))))
        if self.normalise:
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        wave = wave[: self._samples(total + 1) - 1]
        step = self.block * self.encoder_stride
        size = step + self.encoder_window - 1
        both = np.zeros((RAW_ROWS, (plan.units - 1) * step + size), np.float32)
        both[0, : len(wave)] = wave
        both[1, : len(wave)] = 1.0
        blocks = np.lib.stride_tricks.sliding_window_view(both, size, axis=1)[:, ::step]
        return np.ascontiguousarray(blocks.swapaxes(0, 1))

    def _samples(self, frames: int) -> int:
        """Return the fewest samples that make so many encoder frames."""
        return (frames - 1) * self.encoder_stride + self.encoder_window
