"""An encoded video file: its size, its timeline, and its frames one after another.

Knows PyAV; must not know which frames are wanted or why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from hocket._errors import MediaError
from hocket.media.container import check_codec, opened, packets
from hocket.media.limits import Limits
from hocket.media.where import Where

Frames: TypeAlias = npt.NDArray[np.uint8]


class Shot(NamedTuple):
    """One decoded frame: its number, pixels (H, W, 3) and time in seconds."""

    number: int
    pixels: Frames
    seconds: float


class Timeline(NamedTuple):
    """How many frames a video has, how many a second, and its length; 0 where unknown."""

    frames: int
    fps: float
    seconds: float


def first_size(where: Where, limits: Limits) -> tuple[int, int]:
    """Return height and width of the first frame as it is shown.

    Raises:
        MediaError: not a video, no frames, damaged, or over a limit.
    """
    with opened(where, limits, noun="video") as container:
        stream = _stream(container, where)
        _check_size(stream.height, stream.width, where, limits)
        for frame in container.decode(stream):
            upright = _quarter_turns(frame) % 2 == 0
            return (frame.height, frame.width) if upright else (frame.width, frame.height)
    raise MediaError(f"{where.name}: the video has no frames. Remove its row.")


def timeline_of(where: Where, limits: Limits) -> Timeline:
    """Return the timeline of a file, from its index or its packets; nothing is decoded.

    Raises:
        MediaError: not a video, damaged, or over ``max_file_bytes``.
    """
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
        return Timeline(frames, fps, seconds)


def decoded(where: Where, wanted: Sequence[int], limits: Limits) -> Iterator[Shot]:
    """Yield the wanted frames, whose numbers rise; the file is decoded up to the last.

    Raises:
        MediaError: not a video, damaged, cut off, or over a limit.
    """
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
            yield Shot(index, turned, seconds - first)
            target = next(remaining, None)
            if target is None:
                return
    raise MediaError(
        f"{where.name}: the video is cut off: frame {target} is wanted, but only {count} could be "
        f"decoded. Copy or encode the file again."
    )


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
