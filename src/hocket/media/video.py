"""One video: a reference that becomes the frames a sampler picks.

Knows files; must not know how many frames a model wants or what it does with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hocket._errors import MediaError
from hocket.media.audio import Audio
from hocket.media.container import opened
from hocket.media.film import Frames, Shot, Timeline, decoded, first_size, timeline_of
from hocket.media.folder import frame_files, frame_times
from hocket.media.frames import BLANK, FrameSampler
from hocket.media.image import Image
from hocket.media.limits import DEFAULT_LIMITS, Limits
from hocket.media.where import Where

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


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """A video.

    Attributes:
        where: where its bytes are.
        frames: uint8 (N, H, W, 3) if it is decoded already.
        times: float64 (N,), seconds of each of ``frames``, or of ``pictures`` that say them.
        pictures: where its frames are, if it is kept as pictures.
        picture_fps: frames per second of ``pictures``.
    """

    where: Where
    frames: Frames | None = field(default=None, repr=False)
    times: Times | None = field(default=None, repr=False)
    pictures: tuple[Where, ...] = field(default=(), repr=False)
    picture_fps: float = 1.0
    # What the file said: it is looked at once, however often it is asked for.
    _sizes: dict[Limits, tuple[int, int]] = field(default_factory=dict, init=False, repr=False)
    _lines: dict[Limits, Timeline] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def from_path(cls, path: Path | str) -> Video:
        """Refer to a video file; it is opened later."""
        return cls(Where.of_path(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "video bytes") -> Video:
        """Refer to an encoded video in memory."""
        return cls(Where.of_bytes(data, name=name))

    @classmethod
    def from_frames(
        cls,
        pictures: Sequence[Path | str | Where],
        *,
        fps: float = 1.0,
        times: npt.ArrayLike | None = None,
    ) -> Video:
        """Refer to pictures of one size that are the frames, in order, ``fps`` a second.

        At the default of one a second the time of a frame is its number.

        Args:
            pictures: their files, or where their bytes are.
            fps: frames per second.
            times: seconds of each frame, if they are not ``fps`` a second.

        Raises:
            MediaError: no pictures, a rate that is not above 0, or times that do not fit.
        """
        places = tuple(one if isinstance(one, Where) else Where.of_path(one) for one in pictures)
        if not places:
            raise MediaError("a video of pictures: the list is empty. Name at least one picture.")
        name = f"{places[0].name} (first of {len(places)} frames)"
        video = cls._of_pictures(places, fps, name)
        if times is None:
            return video
        return replace(video, times=_seconds(times, len(places), name))

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
        files = tuple(map(Where.of_path, frame_files(path, pattern=pattern)))
        video = cls._of_pictures(files, fps, str(path))
        times = frame_times(path, len(video.pictures)) if pattern is None else None
        return video if times is None else replace(video, times=np.asarray(times, np.float64))

    @classmethod
    def _of_pictures(cls, pictures: tuple[Where, ...], fps: float, name: str) -> Video:
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
        if not frames.size:
            raise MediaError(f"{name}: {frames.shape} has no pixels. Give at least one frame.")
        return cls(Where.of_array(name), frames, _seconds(times, len(frames), name))

    def probe(self, limits: Limits = DEFAULT_LIMITS) -> VideoInfo:
        """Return what the video is, decoding at most one frame.

        Raises:
            MediaError: not a video, no frames, damaged, or over a limit.
        """
        if self.frames is not None:
            height, width = self.frames.shape[1:3]
        elif self.pictures:
            height, width = Image(self.pictures[0]).size(limits)
        else:
            if limits not in self._sizes:
                self._sizes[limits] = first_size(self.where, limits)
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

    def _timeline(self, limits: Limits) -> Timeline:
        if self.times is not None:
            span = float(self.times[-1] - self.times[0])
            fps = (len(self.times) - 1) / span if span > 0 else 1.0
            line = Timeline(len(self.times), fps, len(self.times) / fps)
        elif self.pictures:
            count = len(self.pictures)
            line = Timeline(count, self.picture_fps, count / self.picture_fps)
        else:
            if limits not in self._lines:
                self._lines[limits] = timeline_of(self.where, limits)
            line = self._lines[limits]
        if line.frames < 1:
            raise MediaError(f"{self.where.name}: the video has no frames. Remove its row.")
        if line.seconds > limits.max_video_seconds:
            raise MediaError(
                f"{self.where.name}: {line.seconds:.0f} s of video, but at most "
                f"{limits.max_video_seconds:.0f} are allowed. Cut it or raise max_video_seconds."
            )
        return line

    def _shots(self, wanted: list[int], limits: Limits) -> Iterator[Shot]:
        """Yield the wanted frames in rising order."""
        if self.frames is not None and self.times is not None:
            for index in wanted:
                yield Shot(index, self.frames[index], float(self.times[index]))
        elif self.pictures:
            for index in wanted:
                pixels = Image(self.pictures[index]).load(limits)
                seconds = index / self.picture_fps if self.times is None else self.times[index]
                yield Shot(index, pixels, float(seconds))
        else:
            yield from decoded(self.where, wanted, limits)

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


def _seconds(times: npt.ArrayLike, count: int, name: str) -> Times:
    """Return times that say when each of ``count`` frames is shown, float64 (N,)."""
    seconds = np.asarray(times, np.float64)
    if seconds.shape != (count,):
        raise MediaError(
            f"{name}: {count} frames and times {seconds.shape}, expected one time for each frame."
        )
    if not np.isfinite(seconds).all() or (np.diff(seconds) <= 0).any():
        raise MediaError(f"{name}: the times do not grow from frame to frame. Sort the frames.")
    return seconds


def _by(frame: Frames) -> str:
    return f"{frame.shape[0]} x {frame.shape[1]}"
