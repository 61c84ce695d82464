"""Media and turns of a conversation as a page shows them: data URLs inside the file.

Knows conversations and media; must not know models. Everything is text or a data URL, so a page
that escapes text needs nothing else.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import soundfile
from einops import rearrange
from PIL import Image as Pil

from hocket.chat.conversation import Medium, Message, Text
from hocket.media.audio import Audio
from hocket.media.container import opened
from hocket.media.film import Frames
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.media.limits import DEFAULT_LIMITS
from hocket.media.video import Video

SOUND_RATE = 16_000
MOST_SECONDS = 30
MOST_PIXELS = 512
STRIP_FRAMES = 8
STRIP_COLUMNS = 4
STRIP_GAP_PIXELS = 1
STRIP_GAP_GREY = 160
BIGGEST_FILM_BYTES = 200_000
# What browsers play: MPEG-4 part 2, which PyAV without x264 writes, is not among it.
PLAYED_CODECS = frozenset({"h264"})


# A model that has learned little answers with them, and HTML has no place for them.
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"} | {127: 0x2421}


def environment(*packages: str) -> jinja2.Environment:
    """Return an environment that escapes whatever is put into a page.

    Control characters become the signs that stand for them.

    Args:
        packages: dotted packages whose folder ``page`` holds templates, beside this one's.
    """
    loaders = [jinja2.PackageLoader(name, "page") for name in (*packages, "hocket.report")]
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        finalize=_legible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )


def _legible(value: object) -> object:
    return value.translate(_CONTROLS) if isinstance(value, str) else value


def turn_view(message: Message) -> dict[str, Any]:
    """Return a turn as a template shows it: its role and its parts, texts and media.

    Raises:
        MediaError: a medium cannot be read.
    """
    parts = [
        # A line break beside a medium separates tokens; here the layout separates.
        {"text": part.text.strip("\n")} if isinstance(part, Text) else medium_view(part)
        for part in message.parts
    ]
    return {"role": message.role.value, "parts": parts}


def medium_view(medium: Medium) -> dict[str, str]:
    """Return a medium as the macro of ``media.html.jinja`` shows it.

    Pictures have at most 512 pixels a side, sounds 30 seconds, videos 8 frames and the film itself
    where it is small and browsers play it.

    Raises:
        MediaError: it cannot be read.
    """
    # The file's own name: a page is mailed to people who need not know the folders.
    name = {"name": Path(medium.where.name).name}
    if isinstance(medium, Image):
        return {"image": _data_url("image/png", _png(medium.load()))} | name
    if isinstance(medium, Audio):
        return {"audio": _data_url("audio/wav", _wav(medium))} | name
    return _film(medium) | name


def _film(video: Video) -> dict[str, str]:
    """Return a strip of frames, and the film itself if it is small and browsers play it."""
    frames, _ = video.load(Uniform(STRIP_FRAMES))
    shown = {"strip": _data_url("image/png", _png(_strip(frames))), "frames": str(len(frames))}
    data = _playable_bytes(video)
    return shown | {"film": _data_url("video/mp4", data)} if data else shown


def _playable_bytes(video: Video) -> bytes | None:
    where = video.where
    in_file = where.path is not None or where.data is not None
    if not in_file or where.check(DEFAULT_LIMITS) > BIGGEST_FILM_BYTES:
        return None
    with opened(where, DEFAULT_LIMITS, noun="video") as container:
        codec = container.streams.video[0].codec_context.name
        if "mp4" not in container.format.name or codec not in PLAYED_CODECS:
            return None
    with where.open() as stream:
        return stream.read()


def _strip(frames: Frames) -> Frames:
    """Lay frames, uint8 (N, H, W, 3), in rows on a grey sheet, uint8 (H', W', 3)."""
    columns = min(STRIP_COLUMNS, len(frames))
    spare = -len(frames) % columns
    edge = (0, STRIP_GAP_PIXELS)
    padded = np.pad(
        frames, ((0, spare), edge, edge, (0, 0)), constant_values=np.uint8(STRIP_GAP_GREY)
    )
    return rearrange(padded, "(row column) h w c -> (row h) (column w) c", column=columns)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    picture = Pil.fromarray(pixels)
    picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _wav(sound: Audio) -> bytes:
    buffer = io.BytesIO()
    wave = sound.load(SOUND_RATE)[: MOST_SECONDS * SOUND_RATE]
    soundfile.write(buffer, wave, SOUND_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
