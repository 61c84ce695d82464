"""Sound as log-mel chunks, as Whisper takes it.

Same numbers as transformers' ``WhisperFeatureExtractor``: 25 ms Hann windows every 10 ms, power
spectrum, Slaney mel filters, log10, floored 8 below the loudest bin, then ``(x + 4) / 4``.
Longer sounds become several chunks, each an encoder unit.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

from hocket._errors import ConfigError
from hocket.media.audio import Mix
from hocket.media.resample import Resampler
from hocket.tokens.layout import layouts
from hocket.tokens.layout._sound_rows import count_rows, most_frames
from hocket.tokens.span import Plan

WINDOW = 400
HOP = 160


@layouts.register
@dataclass(frozen=True, slots=True, kw_only=True)
class AudioMel:
    """Cut a sound into chunks of log-mel frames.

    Attributes:
        rate: samples per second the encoder expects.
        resampler: how sounds get that rate: ``soxr``, or ``sinc`` as torchaudio's default.
        mix: what several channels become: ``mean``, or ``first`` as torchaudio's features take it.
        mels: mel bins.
        chunk_seconds: length of one encoder unit; the last one is padded with silence.
        encoder_stride: mel frames per position of the encoder (2 for Whisper's convolutions).
        encoder_pool: positions whose mean is one encoder frame; a rest is dropped, as Qwen2-Audio
            does. Filled in from the encoder.
        frames_per_row: encoder frames per language-model row, filled in from the connector.
        drop_rest: whether frames that fill no row are dropped, filled in from the connector.
        rows_per_unit: rows of every chunk, however much of it is padding; 0 counts them by
            `frames_per_row`. Filled in from the connector.
        extra_rows: learned rows of every sound, filled in from the connector.
        trim: drop the rows that hold only padding.
    """

    rate: int = 16000
    resampler: Resampler = "soxr"
    mix: Mix = "mean"
    mels: int = 80
    chunk_seconds: float = 30.0
    encoder_stride: int = 2
    encoder_pool: int = 1
    frames_per_row: int = 1
    drop_rest: bool = False
    rows_per_unit: int = 0
    extra_rows: int = 0
    trim: bool = True

    def __post_init__(self) -> None:
        """Check that the numbers describe sounds.

        Raises:
            ConfigError: a number is below 1, or a chunk is no whole number of encoder frames.
        """
        numbers = dataclasses.asdict(self)
        for name in ("rate", "mels", "encoder_stride", "encoder_pool", "frames_per_row"):
            if (value := numbers[name]) < 1:
                raise ConfigError(f"layout 'audio_mel': {name} is {value}, expected 1 or more.")
        step = HOP * self.encoder_stride
        if self.chunk_samples < step or self.chunk_samples % step:
            raise ConfigError(
                f"layout 'audio_mel': chunk_seconds {self.chunk_seconds} is {self.chunk_samples} "
                f"samples, expected a multiple of {step} (one encoder frame). "
                f"Try {max(1, round(self.chunk_samples / step)) * step / self.rate}."
            )

    @property
    def chunk_samples(self) -> int:
        """Samples of one unit."""
        return round(self.chunk_seconds * self.rate)

    @property
    def samples_per_position(self) -> int:
        """Samples from one position of the encoder to the next."""
        return HOP * self.encoder_stride

    def plan(self, samples: int) -> Plan:
        """Return chunks, valid encoder frames and rows of that many samples.

        A sound that is shorter than one frame of an encoder that pools has no row.
        """
        chunk = self.chunk_samples
        units = max(1, -(-samples // chunk))
        full = chunk // self.samples_per_position
        heard = [full] * units
        if self.trim:
            rest = max(samples - (units - 1) * chunk, 1)
            heard[-1] = min(full, -(-rest // self.samples_per_position))
        valid = tuple(positions // self.encoder_pool for positions in heard)
        rows = count_rows(self, valid)
        return Plan(
            units=units,
            patches=(1, full // self.encoder_pool),
            rows=rows,
            grid=(rows, 1, 1),
            valid=valid,
            heard=None if self.encoder_pool == 1 else tuple(heard),
        )

    def capacity(self, plan: Plan) -> int:
        """Return the longest sound, in samples, that keeps the plan."""
        frames = most_frames(self, (plan.valid or plan.patches)[-1], plan.patches[1])
        last = (frames * self.encoder_pool + self.encoder_pool - 1) * self.samples_per_position
        return (plan.units - 1) * self.chunk_samples + min(last, self.chunk_samples)

    def lengths(self, plan: Plan) -> list[int]:
        """Return the encoder's positions of each unit that are not padding, before it pools."""
        full = self.chunk_samples // self.samples_per_position
        return list(plan.heard or plan.valid or [full] * plan.units)

    def units(self, wave: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn float32 (L,) into log-mel float32 (U, mels, frames)."""
        padded = np.zeros(plan.units * self.chunk_samples, dtype=np.float32)
        padded[: len(wave)] = wave[: len(padded)]
        chunks = torch.from_numpy(padded.reshape(plan.units, self.chunk_samples))
        return log_mel(chunks, mels=self.mels, rate=self.rate).numpy()


def log_mel(chunks: Tensor, *, mels: int, rate: int) -> Tensor:
    """Return Whisper's log-mel spectrogram.

    Args:
        chunks: float32 (U, L) samples.
        mels: mel bins.
        rate: samples per second.

    Returns:
        float32 (U, mels, L // 160).
    """
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(chunks, WINDOW, HOP, window=window, return_complex=True)
    power = (spectrum[..., :-1].abs() ** 2).contiguous()
    bins = (_filters(mels, rate).T @ power).clamp(min=1e-10).log10()
    floor = bins.amax(dim=(1, 2), keepdim=True) - 8.0
    return (torch.maximum(bins, floor) + 4.0) / 4.0


@lru_cache(maxsize=4)
def _filters(mels: int, rate: int) -> Tensor:
    """Return float32 (201, mels) Slaney filters up to 8 kHz."""
    bank = mel_filter_bank(
        num_frequency_bins=1 + WINDOW // 2,
        num_mel_filters=mels,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(bank).to(torch.float32)
