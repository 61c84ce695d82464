"""One video: a reference that becomes the frames a sampler picks.

Knows files and PyAV; must not know how many frames a model wants or what it does with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from hocket._errors import MediaError
from hocket.media.audio import Audio
from hocket.media.container import check_codec, opened, packets
from hocket.media.folder import frame_files, frame_times
from hocket.media.frames import BLANK, FrameSampler
from hocket.media.image import Image
from hocket.media.limits import DEFAULT_LIMITS, Limits
from hocket.media.where import Where

Frames: TypeAlias = npt.NDArray[np.uint8]
Times: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video is, before its frames are decoded.

    Attributes:
        frames: how many it shows.
        fps: frames per second, the mean where the rate varies; 0 when unknown.
        seconds: its length; 0 when unknown.
        height: of a frame as shown, rotation applied.
        width: of a frame as shown, rotation applied.
    """

    frames: int
    fps: float
    seconds: float
    height: int
    width: int


class _Shot(NamedTuple):
    """One decoded frame: its number, pixels (H, W, 3) and time in seconds."""

    number: int
    pixels: Frames
    seconds: float


class _Timeline(NamedTuple):
    frames: int
    fps: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """A video.

    Attributes:
        where: where its bytes are.
        frames: uint8 (N, H, W, 3) if it is decoded already.
        times: float64 (N,), seconds of each of ``frames``, or of ``pictures`` that say them.
        pictures: the files of its frames, if it is kept as pictures.
        picture_fps: frames per second of ``pictures``.
    """

    where: Where
    frames: Frames | None = field(default=None, repr=False)
    times: Times | None = field(default=None, repr=False)
    pictures: tuple[Path, ...] = field(default=(), repr=False)
    picture_fps: float = 1.0
    # What the file said: it is looked at once, however often it is asked for.
    _sizes: dict[Limits, tuple[int, int]] = field(default_factory=dict, init=False, repr=False)
    _lines: dict[Limits, _Timeline] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def from_path(cls, path: Path | str) -> Video:
        """Refer to a video file; it is opened later."""
        return cls(Where.of_path(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "video bytes") -> Video:
        """Refer to an encoded video in memory."""
        return cls(Where.of_bytes(data, name=name))

    @classmethod
    def from_frames(cls, paths: Sequence[Path | str], *, fps: float = 1.0) -> Video:
        """Refer to pictures of one size that are the frames, in order, ``fps`` a second.

        At the default of one a second the time of a frame is its number.

        Raises:
            MediaError: no pictures, or a rate that is not above 0.
        """
        pictures = tuple(Path(path) for path in paths)
        if not pictures:
            raise MediaError("a video of pictures: the list is empty. Name at least one picture.")
        return cls._of_pictures(pictures, fps, f"{pictures[0]} (first of {len(pictures)} frames)")

    @classmethod
    def from_folder(
        cls, path: Path | str, *, fps: float = 1.0, pattern: str | None = None
    ) -> Video:
        """Refer to the pictures of a folder, ``fps`` a second, numbers in names in their order.

        The folder is listed now and its pictures are opened later; see `frame_files` for which
        files count. At the default of one a second the time of a frame is its number; a folder
        that `hocket data frames` wrote says the times itself.

        Raises:
            MediaError: no folder, no file that fits ``pattern``, files of several endings when
                there is no pattern, or a rate that is not above 0.
        """
        video = cls._of_pictures(frame_files(path, pattern=pattern), fps, str(path))
        times = frame_times(path, len(video.pictures)) if pattern is None else None
        return video if times is None else replace(video, times=np.asarray(times, np.float64))

    @classmethod
    def _of_pictures(cls, pictures: tuple[Path, ...], fps: float, name: str) -> Video:
        if not 0 < fps < float("inf"):
            raise MediaError(f"{name}: {fps} frames per second, expected above 0. Correct fps.")
        return cls(Where.of_array(name), pictures=pictures, picture_fps=fps)

    @classmethod
    def from_array(cls, frames: Frames, times: npt.ArrayLike, name: str = "video array") -> Video:
        """Wrap frames, uint8 (N, H, W, 3), and their times in seconds, (N,), without a copy.

        Raises:
            MediaError: other shapes or types, no frames, or times that do not grow.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
            raise MediaError(
                f"{name}: {frames.dtype} {frames.shape}, expected uint8 (frames, height, width, 3)."
                f" Convert the array first."
            )
        seconds = np.asarray(times, np.float64)
        if not frames.size or seconds.shape != (len(frames),):
            raise MediaError(
                f"{name}: {len(frames)} frames of {frames.shape[1]} x {frames.shape[2]} and times "
                f"{seconds.shape}, expected one time for each of at least one frame."
            )
        if not np.isfinite(seconds).all() or (np.diff(seconds) <= 0).any():
            raise MediaError(f"{name}: the times do not grow from frame to frame. Sort the frames.")
        return cls(Where.of_array(name), frames, seconds)

    def probe(self, limits: Limits = DEFAULT_LIMITS) -> VideoInfo:
        """Return what the video is, decoding at most one frame.

        Raises:
            MediaError: not a video, no frames, damaged, or over a limit.
        """
        if self.frames is not None:
            height, width = self.frames.shape[1:3]
        elif self.pictures:
            height, width = Image.from_path(self.pictures[0]).size(limits)
        else:
            if limits not in self._sizes:
                with opened(self.where, limits, noun="video") as container:
                    self._sizes[limits] = _first_size(container, self.where, limits)
            height, width = self._sizes[limits]
        line = self._timeline(limits)
        return VideoInfo(line.frames, line.fps, line.seconds, height, width)

    def sound(self, limits: Limits = DEFAULT_LIMITS) -> Audio | None:
        """Return the first sound of the file, decoded later, or None where there is none.

        Its first sample is the first of the track. Pictures and arrays have no sound.

        Raises:
            MediaError: not a video, damaged or over ``max_file_bytes``.
        """
        if self.frames is not None or self.pictures:
            return None
        with opened(self.where, limits, noun="video") as container:
            return Audio(self.where) if container.streams.audio else None

    def pick_count(self, sampler: FrameSampler, limits: Limits = DEFAULT_LIMITS) -> int:
        """Return how many frames `load` will return, decoding none.

        Raises:
            MediaError: as `load`, as far as the header shows it.
        """
        return len(self._picks(sampler, limits))

    def load(self, sampler: FrameSampler, limits: Limits = DEFAULT_LIMITS) -> tuple[Frames, Times]:
        """Return the picked frames, uint8 (N, H, W, 3) RGB, and their seconds, float64 (N,).

        The file is decoded in order up to the last picked frame and only picked frames are
        kept. Rotation is applied. Times count from the first frame; a black frame before a
        short history has the time of the first picked frame.

        Raises:
            MediaError: not a video, no frames, damaged, cut off, or over a limit.
        """
        picks = self._picks(sampler, limits)
        slots: dict[int, list[int]] = {}
        for slot, index in enumerate(picks):
            slots.setdefault(index, []).append(slot)
        blank = slots.pop(BLANK, [])
        frames = np.empty((0, 0, 0, 3), np.uint8)
        times = np.zeros(len(picks), np.float64)
        for shot in self._shots(sorted(slots), limits):
            if not frames.size:
                frames = self._room(len(picks), shot.pixels, limits)
                times[blank] = shot.seconds
            if shot.pixels.shape != frames.shape[1:]:
                raise MediaError(
                    f"{self.where.name}: frame {shot.number} is {_by(shot.pixels)}, those before "
                    f"are {_by(frames[0])}. Make all frames one size."
                )
            frames[slots[shot.number]] = shot.pixels
            times[slots[shot.number]] = shot.seconds
        return frames, times

    def _room(self, count: int, first: Frames, limits: Limits) -> Frames:
        needed = count * first.nbytes
        if needed > limits.max_video_bytes:
            raise MediaError(
                f"{self.where.name}: {count} frames of {_by(first)} need {needed} bytes, but at "
                f"most {limits.max_video_bytes} are allowed. Pick fewer frames."
            )
        return np.zeros((count, *first.shape), np.uint8)

    def _picks(self, sampler: FrameSampler, limits: Limits) -> list[int]:
        line = self._timeline(limits)
        try:
            picks = sampler.pick(line.frames, line.fps)
        except MediaError as error:
            raise MediaError(f"{self.where.name}: {error}") from error
        wrong = [index for index in picks if index != BLANK and not 0 <= index < line.frames]
        if wrong or all(index == BLANK for index in picks):
            raise MediaError(
                f"{self.where.name}: {sampler!r} picked {wrong[:3] or 'no frame'} of "
                f"{line.frames} frames. Correct the sampler."
            )
        if len(picks) > limits.max_frames:
            raise MediaError(
                f"{self.where.name}: {len(picks)} frames picked, but at most {limits.max_frames} "
                f"are allowed. Pick fewer or raise max_frames."
            )
        return picks

    def _timeline(self, limits: Limits) -> _Timeline:
        if self.times is not None:
            span = float(self.times[-1] - self.times[0])
            fps = (len(self.times) - 1) / span if span > 0 else 1.0
            line = _Timeline(len(self.times), fps, len(self.times) / fps)
        elif self.pictures:
            count = len(self.pictures)
            line = _Timeline(count, self.picture_fps, count / self.picture_fps)
        else:
            if limits not in self._lines:
                self._lines[limits] = _file_timeline(self.where, limits)
            line = self._lines[limits]
        if line.frames < 1:
            raise MediaError(f"{self.where.name}: the video has no frames. Remove its row.")
        if line.seconds > limits.max_video_seconds:
            raise MediaError(
                f"{self.where.name}: {line.seconds:.0f} s of video, but at most "
                f"{limits.max_video_seconds:.0f} are allowed. Cut it or raise max_video_seconds."
            )
        return line

    def _shots(self, wanted: list[int], limits: Limits) -> Iterator[_Shot]:
        """Yield the wanted frames in rising order."""
        if self.frames is not None and self.times is not None:
            for index in wanted:
                yield _Shot(index, self.frames[index], float(self.times[index]))
        elif self.pictures:
            for index in wanted:
                pixels = Image.from_path(self.pictures[index]).load(limits)
                seconds = index / self.picture_fps if self.times is None else self.times[index]
                yield _Shot(index, pixels, float(seconds))
        else:
            yield from _decode(self.where, wanted, limits)

    def __eq__(self, other: object) -> bool:
        """Compare places and pictures, and frames where there are any."""
        if not isinstance(other, Video):
            return NotImplemented
        mine = (self.where, self.pictures, self.picture_fps)
        if mine != (other.where, other.pictures, other.picture_fps):
            return False
        pairs = ((self.frames, other.frames), (self.times, other.times))
        return all(a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs)

    def __hash__(self) -> int:
        """Hash the place."""
        return hash((self.where, self.pictures))


def _by(frame: Frames) -> str:
    return f"{frame.shape[0]} x {frame.shape[1]}"


def _stream(container: InputContainer, where: Where) -> VideoStream:
    for stream in container.streams.video:
        # The cover of a song is a video stream of one picture.
        if not stream.disposition & av.stream.Disposition.attached_pic:
            check_codec(stream, where, instead="H.264")
            # Data workers are processes: threads inside each would only fight for cores.
            stream.codec_context.thread_count = 1
            return stream
    raise MediaError(f"{where.name}: no video in this file. Check that it is the right one.")


def _check_size(height: int, width: int, where: Where, limits: Limits) -> None:
    if max(height, width) > limits.max_side_pixels or height * width > limits.max_pixels:
        raise MediaError(
            f"{where.name}: frames of {height} x {width} pixels, but at most {limits.max_pixels} "
            f"and {limits.max_side_pixels} a side are allowed. Shrink it or raise the limits."
        )


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Return how often a frame is turned left by 90 degrees to be shown."""
    return round(frame.rotation / 90) % 4


def _first_size(container: InputContainer, where: Where, limits: Limits) -> tuple[int, int]:
    stream = _stream(container, where)
    _check_size(stream.height, stream.width, where, limits)
    for frame in container.decode(stream):
        upright = _quarter_turns(frame) % 2 == 0
        return (frame.height, frame.width) if upright else (frame.width, frame.height)
    raise MediaError(f"{where.name}: the video has no frames. Remove its row.")


def _file_timeline(where: Where, limits: Limits) -> _Timeline:
    with opened(where, limits, noun="video") as container:
        stream = _stream(container, where)
        frames = _count(container, stream, where)
        rate = stream.average_rate or stream.guessed_rate or Fraction(0)
        unit = stream.time_base or Fraction(0)
        seconds = float((stream.duration or 0) * unit) or (container.duration or 0) / av.time_base
        # A container that also holds a longer sound says the length of that.
        if rate and (stream.duration is None or not seconds):
            seconds = frames / float(rate)
        fps = float(rate) if rate else (frames / seconds if seconds > 0 else 0.0)
        return _Timeline(frames, fps, seconds)


def _count(container: InputContainer, stream: VideoStream, where: Where) -> int:
    """Return how many frames will be shown, from the index if it is whole, else from packets."""
    entries = stream.index_entries
    if "mp4" in container.format.name and stream.frames and len(entries) == stream.frames:
        return sum(not entry.is_discard for entry in entries)
    found = packets(container, stream, where)
    if stream.codec_context.name in ("vp8", "libvpx"):
        # Bit 4 of a VP8 frame: a hidden reference frame has it clear and is never shown.
        return sum(bool(bytes(packet)[0] & 0x10) for packet in found)
    return sum(not packet.is_discard for packet in found)


def _decode(where: Where, wanted: list[int], limits: Limits) -> Iterator[_Shot]:
    with opened(where, limits, noun="video") as container:
        stream = _stream(container, where)
        _check_size(stream.height, stream.width, where, limits)
        fps = float(stream.average_rate or 0) or 1.0
        # One converter for all frames: making one costs more than converting a small frame.
        to_rgb = VideoReformatter()
        remaining = iter(wanted)
        target = next(remaining, None)
        count = 0
        first: float | None = None
        for index, frame in enumerate(container.decode(stream)):
            count = index + 1
            seconds = frame.time if frame.pts is not None else index / fps
            first = seconds if first is None else first
            if index != target:
                continue
            if frame.is_corrupt:
                raise MediaError(
                    f"{where.name}: frame {index} is damaged. Copy or encode the file again."
                )
            _check_size(frame.height, frame.width, where, limits)
            rgb = to_rgb.reformat(frame, format="rgb24", threads=1)
            pixels = np.asarray(rgb.to_ndarray(), np.uint8)
            turned = np.rot90(pixels, _quarter_turns(frame))
            yield _Shot(index, turned, seconds - first)
            target = next(remaining, None)
            if target is None:
                return
    raise MediaError(
        f"{where.name}: the video is cut off: frame {target} is wanted, but only {count} could be "
        f"decoded. Copy or encode the file again."
    )
