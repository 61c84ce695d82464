"""A walk to look at: from above as SVG, as a strip of what was seen, and as a film.

The drawing knows lines and points in metres; the strip and the film know pictures.
"""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import PIL.Image
from av.video.stream import VideoStream
from numpy.typing import NDArray

from hocket._errors import MachineError
from hocket.nav.environment import Picture
from hocket.nav.record import Record

STRIP_FRAMES = 8
_STRIP_COLUMNS = 4
_FILM_FPS = 4
_LEAST_SIDE = 256
_MARGIN_M = 0.3
_CODECS = ("libx264", "libopenh264", "mpeg4")


def from_above(record: Record) -> str:
    """Return a walk from above as an SVG: walls, landmarks, the way to take, the way taken.

    Classes of its elements: ``wall``, ``landmark``, ``reference``, ``path``, ``start``, ``goal``,
    ``end``. North is up.
    """
    path, reference = np.array(record.path)[:, :2], np.array(record.reference)[:, :2]
    lines = np.array(record.outline, np.float64).reshape(-1, 2, 2)
    points = np.concatenate([path, reference, lines.reshape(-1, 2)])
    low, high = points.min(0) - _MARGIN_M, points.max(0) + _MARGIN_M
    wide, tall = high - low

    def place(at: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
        return round(float(at[0] - low[0]), 3), round(float(high[1] - at[1]), 3)

    def trace(name: str, way: NDArray[np.float64]) -> str:
        drawn = " ".join(f"{x},{y}" for x, y in map(place, way))
        return f'<polyline class="{name}" points="{drawn}"/>'

    def dot(name: str, at: Sequence[float] | NDArray[np.float64], radius: float) -> str:
        x, y = place(at)
        return f'<circle class="{name}" cx="{x}" cy="{y}" r="{radius:g}"/>'

    label = html.escape(f"{record.episode} from above")
    parts = [f'<svg viewBox="0 0 {wide:.3f} {tall:.3f}" role="img" aria-label="{label}">']
    parts += [trace("wall", line) for line in lines]
    for name, at in record.landmarks.items():
        x, y = place(at)
        parts.append(dot("landmark", at, 0.12))
        parts.append(f'<text x="{x}" y="{y - 0.18:g}">{html.escape(name)}</text>')
    parts += [trace("reference", reference), trace("path", path)]
    parts += [dot("goal", record.goal, 0.2), dot("start", path[0], 0.1), dot("end", path[-1], 0.1)]
    return "".join([*parts, "</svg>"])


def strip(frames: Sequence[Picture]) -> bytes:
    """Return up to 8 of a walk's frames as a PNG, four in a row, the last one included."""
    count = min(STRIP_FRAMES, len(frames))
    picks = np.linspace(0, len(frames) - 1, count).round().astype(int)
    shown = [frames[at] for at in picks]
    if count > _STRIP_COLUMNS:
        shown += [np.zeros_like(shown[0])] * (-count % _STRIP_COLUMNS)
    rows = [
        np.concatenate(shown[at : at + _STRIP_COLUMNS], axis=1)
        for at in range(0, len(shown), _STRIP_COLUMNS)
    ]
    sheet = np.concatenate(rows)
    buffer = io.BytesIO()
    PIL.Image.fromarray(sheet).save(buffer, format="PNG")
    return buffer.getvalue()


def film(frames: Sequence[Picture], file: Path) -> None:
    """Write a walk's frames as an MP4, four a second, small pictures enlarged.

    Raises:
        MachineError: the file cannot be written, or this PyAV has no encoder for it.
    """
    name = next((one for one in _CODECS if one in av.codecs_available), None)
    if name is None:
        raise MachineError(
            f"this PyAV has no video encoder; expected one of {', '.join(_CODECS)}. "
            f"Run: pip install --force-reinstall av"
        )
    height, width = frames[0].shape[:2]
    times = max(1, -(-_LEAST_SIDE // min(height, width)))
    try:
        with av.open(str(file), mode="w", format="mp4") as container:
            # Its type would need the encoder's name as a literal.
            stream = cast(VideoStream, container.add_stream(name, rate=Fraction(_FILM_FPS)))
            # Encoders want even sides.
            stream.width, stream.height = width * times // 2 * 2, height * times // 2 * 2
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                large = frame.repeat(times, axis=0).repeat(times, axis=1)
                even = np.ascontiguousarray(large[: int(stream.height), : int(stream.width)])
                picture = av.VideoFrame.from_ndarray(even, format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
    except OSError as error:
        raise MachineError(f"{file} cannot be written: {error}. Free space.") from error
