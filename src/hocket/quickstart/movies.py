"""Short videos made from scanned digits: several in a row, or one that moves.

Knows pixels and the encoder of PyAV; must not know questions, data sets or models.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import TypeAlias, cast

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

from hocket._errors import ConfigError, MachineError, UnknownNameError
from hocket.quickstart.digits import Gray, draw

Frames: TypeAlias = npt.NDArray[np.uint8]

FRAMES = 8
FPS = 8
SIDE = 32
DIGIT_SIDE = 16
_SHORTEST_WAY, _LONGEST_WAY = 8, 12

# Steps along (down, right).
_STEPS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
DIRECTIONS = tuple(_STEPS)

# Each digit is seen even by a model that looks only at the first, middle and last frame.
_LENGTHS = ((3, 3, 2), (2, 3, 3))

# First choice first: H.264 where PyAV carries x264, else MPEG-4 part 2. Both are set so that a
# digit stays as easy to read as in its picture.
_ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "12"},
    "mpeg4": {"qmin": "1", "qmax": "2", "b": "4000000"},
}


def film_order(scans: Sequence[Gray], *, rng: np.random.Generator) -> Frames:
    """Show three digits one after another, each filling the frame.

    Args:
        scans: three scans, each uint8 (8, 8).
        rng: draws which digit is shown for two frames; the others have three.

    Returns:
        uint8 (8, 32, 32, 3).

    Raises:
        ConfigError: another number of scans.
    """
    lengths = _LENGTHS[int(rng.integers(len(_LENGTHS)))]
    if len(scans) != len(lengths):
        raise ConfigError(f"a video of an order was given {len(scans)} digits; expected 3.")
    pictures = np.stack([draw(scan, side=SIDE) for scan in scans])
    return np.repeat(pictures, lengths, axis=0)


def film_motion(scan: Gray, direction: str, *, rng: np.random.Generator) -> Frames:
    """Move one digit in a straight line over an empty sheet.

    Args:
        scan: uint8 (8, 8).
        direction: ``left``, ``right``, ``up`` or ``down``.
        rng: draws where the line starts, how long it is, and its distance from the border.

    Returns:
        uint8 (8, 32, 32, 3); the digit is 16 pixels high and moves 8 to 12 pixels.

    Raises:
        UnknownNameError: another direction.
    """
    if direction not in _STEPS:
        raise UnknownNameError("direction", direction, _STEPS)
    down, right = _STEPS[direction]
    room = SIDE - DIGIT_SIDE
    # Where the digit starts says little about where it goes, so several frames must be compared.
    way = int(rng.integers(_SHORTEST_WAY, _LONGEST_WAY + 1))
    start, across = int(rng.integers(0, room - way + 1)), int(rng.integers(0, room + 1))
    line = np.linspace(start, start + way, FRAMES).round().astype(int)
    if down + right < 0:
        line = room - line
    picture = draw(scan, side=DIGIT_SIDE)
    frames = np.full((FRAMES, SIDE, SIDE, 3), 255, np.uint8)
    for frame, at in zip(frames, line, strict=True):
        top, left = (at, across) if down else (across, at)
        frame[top : top + DIGIT_SIDE, left : left + DIGIT_SIDE] = picture
    return frames


@cache
def encoder() -> str:
    """Return the name of the encoder that videos are written with.

    Raises:
        MachineError: this PyAV has none of those we can use.
    """
    for name in _ENCODERS:
        if name in av.codecs_available and av.Codec(name, "w").is_encoder:
            return name
    raise MachineError(
        f"this PyAV has no video encoder; expected one of {', '.join(_ENCODERS)}. "
        f"Run: pip install --force-reinstall av"
    )


def encode_film(frames: Frames, *, fps: int = FPS) -> bytes:
    """Return frames as the bytes of an MP4 file.

    Args:
        frames: uint8 (N, H, W, 3) RGB, H and W even.
        fps: frames per second.

    Raises:
        MachineError: this PyAV has no encoder that we can use.
    """
    name = encoder()
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="mp4") as container:
        added = container.add_stream(name, rate=fps, options=_ENCODERS[name])
        # Its type would need the encoder's name as a literal.
        stream = cast(VideoStream, added)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # Threads cost more than they give on frames this small, and one is deterministic.
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
