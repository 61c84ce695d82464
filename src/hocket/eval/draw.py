"""Pictures, sounds and videos for twins: coloured shapes, printed lines, tones, things that move.

Knows pixels and samples; must not know benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video

SIDE = 96
_RATE = 16000
_FRAMES = 8
_FPS = 4
_COLOURS = {
    "red": (204, 51, 51),
    "green": (44, 140, 70),
    "blue": (48, 92, 190),
    "yellow": (232, 190, 40),
    "black": (30, 30, 34),
}
_TONES_HZ = {"low": 220.0, "middle": 440.0, "high": 880.0}
_WORD_SECONDS = 0.2

Thing = tuple[str, str, tuple[int, int, int, int]]
"""Colour, kind (``square``, ``circle``, ``triangle``) and box: left, top, right, bottom."""

MIDDLE = (24, 24, 72, 72)


def picture(*things: Thing, size: tuple[int, int] = (SIDE, SIDE)) -> Image:
    """Return a white picture of a width and height with things on it."""
    sheet = PIL.Image.new("RGB", size, "white")
    draw = PIL.ImageDraw.Draw(sheet)
    for colour, kind, (left, top, right, bottom) in things:
        if kind == "circle":
            draw.ellipse((left, top, right, bottom), fill=_COLOURS[colour])
        elif kind == "triangle":
            corners = [(left, bottom), (right, bottom), ((left + right) // 2, top)]
            draw.polygon(corners, fill=_COLOURS[colour])
        else:
            draw.rectangle((left, top, right, bottom), fill=_COLOURS[colour])
    return Image.from_pil(sheet)


def one(colour: str, kind: str) -> Image:
    """Return a picture of one thing in the middle."""
    return picture((colour, kind, MIDDLE))


def printed(*lines: str) -> Image:
    """Return a picture of lines of print."""
    sheet = PIL.Image.new("RGB", (240, 30 * len(lines) + 12), "white")
    draw = PIL.ImageDraw.Draw(sheet)
    font = PIL.ImageFont.load_default(20)
    for number, line in enumerate(lines):
        draw.text((8, 6 + 30 * number), line, fill="black", font=font)
    return Image.from_pil(sheet)


def bars(values: Sequence[int]) -> Image:
    """Return a bar chart with the value printed above each bar."""
    sheet = PIL.Image.new("RGB", (48 * len(values) + 16, 140), "white")
    draw = PIL.ImageDraw.Draw(sheet)
    font = PIL.ImageFont.load_default(14)
    for at, value in enumerate(values):
        left, top = 16 + 48 * at, 128 - 100 * value // max(values)
        draw.rectangle((left, top, left + 32, 128), fill=_COLOURS["blue"])
        draw.text((left + 4, max(0, top - 16)), str(value), fill="black", font=font)
    return Image.from_pil(sheet)


def moving(colour: str, kind: str, way: str = "right", *, frames: int = _FRAMES) -> Video:
    """Return a video of a thing that crosses the picture, four frames a second."""
    across, down = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}[way]
    pictures = []
    for step in range(frames):
        off = round(40 * (step / max(1, frames - 1) - 0.5))
        x, y = SIDE // 2 + across * off, SIDE // 2 + down * off
        pictures.append(picture((colour, kind, (x - 16, y - 16, x + 16, y + 16))).load())
    return Video.from_array(np.stack(pictures), np.arange(frames) / _FPS)


def tones(words: str) -> Audio:
    """Return a sound that says ``low``, ``middle`` and ``high`` as tones with pauses."""
    times = np.arange(round(_WORD_SECONDS * _RATE)) / _RATE
    silence = np.zeros(round(_WORD_SECONDS * _RATE / 2))
    waves = [
        part
        for word in words.lower().split()
        for part in (0.3 * np.sin(2 * np.pi * _TONES_HZ[word] * times), silence)
    ]
    return Audio.from_array(np.concatenate(waves), rate=_RATE)
