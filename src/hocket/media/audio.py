"""One sound: a reference that becomes samples when somebody asks.

Knows files, soundfile, PyAV and soxr; must not know features, models or tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import numpy.typing as npt
import soundfile
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from hocket._errors import MediaError
from hocket.media.container import check_codec, opened, packets
from hocket.media.limits import DEFAULT_LIMITS, Limits
from hocket.media.resample import Resampler, Wave, resample, resampled_length
from hocket.media.where import Where, reason

Mix = Literal["mean", "first"]
"""What several channels become: their mean, or the first, which torchaudio's fbank reads alone."""

_BLOCK_FRAMES = 1 << 18
# Codecs round to whole packets and encoders add silence, so the header may be off by this much.
_SLACK_SECONDS = Fraction(1, 5)
# Programs that write to a pipe put a length near or above 2 GiB because they do not know it.
_UNKNOWN_RIFF_BYTES = 0x7FFFF000


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says about its sound: samples of one channel and their rate in Hz."""

    samples: int
    rate: int


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A sound.

    Attributes:
        where: where its bytes are.
        wave: float32 mono (L,) if it is decoded already.
        rate: samples per second of ``wave``; of no meaning for a file.
    """

    where: Where
    wave: Wave | None = field(default=None, repr=False)
    rate: int = 16000
    # What the header said: it is read once, however often it is asked for.
    _read: dict[Limits, _Header] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def from_path(cls, path: Path | str) -> Audio:
        """Refer to a sound file; it is opened later."""
        return cls(Where.of_path(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "sound bytes") -> Audio:
        """Refer to an encoded sound in memory."""
        return cls(Where.of_bytes(data, name=name))

    @classmethod
    def from_array(
        cls, wave: npt.NDArray[np.floating], *, rate: int, name: str = "sound array"
    ) -> Audio:
        """Wrap mono samples in -1..1, float (L,), taken ``rate`` times a second.

        Raises:
            MediaError: another shape or type, no samples, or samples that are not finite.
        """
        if not np.issubdtype(wave.dtype, np.floating) or wave.ndim != 1:
            raise MediaError(
                f"{name}: {wave.dtype} {wave.shape}, expected float (samples,) in -1..1. "
                f"Average channels and divide int16 by 32768."
            )
        if rate < 1:
            raise MediaError(f"{name}: rate {rate} Hz, expected at least 1. Give the real rate.")
        _check_wave(wave, name)
        return cls(Where.of_array(name), wave.astype(np.float32, copy=False), rate)

    def seconds(self, limits: Limits = DEFAULT_LIMITS) -> float:
        """Return the length, reading only the header.

        Raises:
            MediaError: not a sound, empty, or over a limit.
        """
        header = self._header(limits)
        return header.samples / header.rate

    def frames(
        self, rate: int, limits: Limits = DEFAULT_LIMITS, *, resampler: Resampler = "soxr"
    ) -> int:
        """Return ``len(load(rate))``, reading only the header.

        Raises:
            MediaError: not a sound, empty, too short for one sample, or over a limit.
        """
        return _count_resampled(self._header(limits), rate, resampler, self.where.name)

    def load(
        self,
        rate: int,
        limits: Limits = DEFAULT_LIMITS,
        *,
        resampler: Resampler = "soxr",
        mix: Mix = "mean",
    ) -> Wave:
        """Return the samples, float32 (L,), at ``rate`` Hz.

        The caller owns the array.

        Args:
            rate: samples per second.
            limits: what a file may cost.
            resampler: how another rate becomes this one.
            mix: what several channels become; samples in memory have one.

        Raises:
            MediaError: not a sound, damaged, cut off, empty, not finite, or over a limit.
        """
        header = self._header(limits)
        total = _count_resampled(header, rate, resampler, self.where.name)
        if self.wave is not None:
            wave = self.wave
        else:
            wave = self._decode(limits, mix)
            _check_wave(wave, self.where.name)
        if header.rate == rate:
            return wave.copy() if wave is self.wave else wave
        return _fit(resample(wave, header.rate, rate, resampler), total)

    def _header(self, limits: Limits) -> _Header:
        name = self.where.name
        if self.wave is not None:
            header = _Header(len(self.wave), self.rate)
        elif limits in self._read:
            header = self._read[limits]
        else:
            self.where.check(limits)
            with _sound_file(self.where) as file:
                if file is not None:
                    header = _Header(int(file.frames), int(file.samplerate))
                else:
                    header = _header_in_container(self.where, limits)
            self._read[limits] = header
        if header.samples < 1 or header.rate < 1:
            raise MediaError(
                f"{name}: the sound has no samples. Remove its row or record it again."
            )
        if header.samples > limits.max_audio_seconds * header.rate:
            raise MediaError(
                f"{name}: {header.samples / header.rate:.0f} s of sound, but at most "
                f"{limits.max_audio_seconds:.0f} are allowed. Cut it or raise max_audio_seconds."
            )
        return header

    def _decode(self, limits: Limits, mix: Mix) -> Wave:
        with _sound_file(self.where) as file:
            if file is not None:
                return _read_blocks(file, self.where, mix)
        return _decode_container(self.where, limits, mix)

    def __eq__(self, other: object) -> bool:
        """Compare places and rates, and samples where there are any."""
        if not isinstance(other, Audio):
            return NotImplemented
        if (self.where, self.rate) != (other.where, other.rate):
            return False
        if self.wave is None or other.wave is None:
            return self.wave is other.wave
        return np.array_equal(self.wave, other.wave)

    def __hash__(self) -> int:
        """Hash the place."""
        return hash(self.where)


def _check_wave(wave: npt.NDArray[np.floating], name: str) -> None:
    if not wave.size:
        raise MediaError(f"{name}: the sound has no samples. Remove its row or record it again.")
    finite = np.isfinite(wave)
    if not finite.all():
        first = int(np.argmin(finite))
        raise MediaError(
            f"{name}: sample {first} is {wave[first]}, expected a finite number. "
            f"Write the file again or remove its row."
        )


def _count_resampled(header: _Header, rate: int, resampler: Resampler, name: str) -> int:
    if rate < 1:
        raise MediaError(f"{name}: asked for {rate} Hz, expected at least 1. Correct the rate.")
    total = resampled_length(header.samples, header.rate, rate, resampler)
    if total < 1:
        raise MediaError(
            f"{name}: {header.samples} samples at {header.rate} Hz are none at {rate} Hz. "
            f"Remove its row."
        )
    return total


def _fit(wave: Wave, total: int) -> Wave:
    """Cut, or fill with silence at the end, to exactly ``total`` samples."""
    if len(wave) >= total:
        return wave[:total]
    return np.pad(wave, (0, total - len(wave)))


@contextmanager
def _sound_file(where: Where) -> Iterator[soundfile.SoundFile | None]:
    """Open with libsndfile; None when the bytes are of a format that it does not know."""
    with where.open() as stream:
        try:
            file = soundfile.SoundFile(stream)
        except (soundfile.LibsndfileError, TypeError):
            yield None
            return
        with file:
            _check_riff_length(where, file)
            yield file


def _check_riff_length(where: Where, file: soundfile.SoundFile) -> None:
    """Refuse a WAV file that is shorter than it says: libsndfile would play what is there."""
    if file.format not in ("WAV", "WAVEX"):
        return
    with where.open() as stream:
        head = stream.read(8)
        there = stream.seek(0, 2)
    told = int.from_bytes(head[4:8], "little")
    if head[:4] == b"RIFF" and told < _UNKNOWN_RIFF_BYTES and told + 8 > there + 1:
        raise MediaError(
            f"{where.name}: the sound is cut off: {there} bytes, but its header says {told + 8}. "
            f"Copy the file again or remove its row."
        )


def _read_blocks(file: soundfile.SoundFile, where: Where, mix: Mix) -> Wave:
    # Mixing block by block keeps a many-channel file from taking many times its mono size.
    blocks: list[Wave] = []
    try:
        while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
            one = mix == "first" or block.shape[1] == 1
            blocks.append(block[:, 0].copy() if one else block.mean(axis=1))
    except soundfile.LibsndfileError as error:
        raise MediaError(
            f"{where.name}: the sound is damaged ({reason(error)}). "
            f"Copy the file again or remove its row."
        ) from error
    wave = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if len(wave) != file.frames:
        raise MediaError(
            f"{where.name}: the sound is cut off: {len(wave)} samples, but its header says "
            f"{file.frames}. Copy the file again or remove its row."
        )
    return wave


def _stream(container: InputContainer, where: Where) -> AudioStream:
    if not container.streams.audio:
        raise MediaError(f"{where.name}: no sound in this file. Check that it is the right one.")
    stream = container.streams.audio[0]
    check_codec(stream, where, instead="AAC or FLAC")
    if not stream.codec_context.sample_rate:
        raise MediaError(f"{where.name}: the sound has no sample rate. Encode the file again.")
    return stream


def _header_in_container(where: Where, limits: Limits) -> _Header:
    with opened(where, limits, noun="sound") as container:
        stream = _stream(container, where)
        rate = stream.codec_context.sample_rate
        unit = stream.time_base or Fraction(1, rate)
        length = stream.duration
        if length is None:
            # Matroska keeps one length for all streams: only the packets know that of the sound.
            ends = [
                packet.pts + (packet.duration or 0)
                for packet in packets(container, stream, where)
                if packet.pts is not None
            ]
            length = max(ends, default=0)
        return _Header(round(length * unit * rate), rate)


def _decode_container(where: Where, limits: Limits, mix: Mix) -> Wave:
    header = _header_in_container(where, limits)
    # A file may hold more than its header says; the cap is on what comes out.
    most = header.samples + int(_SLACK_SECONDS * header.rate)
    pieces: list[Wave] = []
    count = 0
    with opened(where, limits, noun="sound") as container:
        stream = _stream(container, where)
        resampler = AudioResampler(format="fltp", rate=header.rate)
        for frame in _frames_and_end(container, stream):
            for part in resampler.resample(frame):
                channels = part.to_ndarray()
                one = channels[0] if mix == "first" else channels.mean(axis=0, dtype=np.float32)
                pieces.append(one)
                count += part.samples
            if count > most:
                break
    wave = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    if not len(wave) or len(wave) < header.samples - int(_SLACK_SECONDS * header.rate):
        raise MediaError(
            f"{where.name}: the sound is cut off: {len(wave) / header.rate:.2f} s, but its header "
            f"says {header.samples / header.rate:.2f} s. Copy the file again or remove its row."
        )
    return _fit(wave, header.samples)


def _frames_and_end(
    container: InputContainer, stream: AudioStream
) -> Iterator[av.AudioFrame | None]:
    yield from container.decode(stream)
    yield None
