"""Whether a medium can be opened, or decoded to its end, and what its bytes are.

For checks: nothing of the decoded medium is kept. Knows media; must not know rows or models.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from hocket.media.audio import Audio
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.media.video import Video

# The last frame of a video is among them, so all are decoded; few are kept.
_ALL_FRAMES = Uniform(2)
_PIECE_BYTES = 2**20


class Examined(NamedTuple):
    """What is known of a medium that can be opened.

    Attributes:
        digest: hash of its bytes; empty when they were not read.
        pixels: height times width; 0 for a sound.
        seconds: its length; 0 for a picture.
    """

    digest: str
    pixels: int
    seconds: float


def examine(medium: Image | Audio | Video, *, decode: bool) -> Examined:
    """Open a medium.

    Args:
        medium: picture, sound or video.
        decode: decode all of it and hash its bytes; else only its header is read.

    Raises:
        MediaError: it cannot be opened or decoded.
    """
    pixels, seconds = 0, 0.0
    if isinstance(medium, Image):
        height, width = medium.size()
        pixels = height * width
        if decode:
            medium.load()
    elif isinstance(medium, Audio):
        seconds = medium.seconds()
        if decode:
            medium.load(medium.rate)
    else:
        info = medium.probe()
        pixels, seconds = info.height * info.width, info.seconds
        if decode:
            medium.load(_ALL_FRAMES)
    return Examined(_digest(medium) if decode else "", pixels, seconds)


def _digest(medium: Image | Audio | Video) -> str:
    """Return a hash of the bytes of a medium; empty for one that has none, an array."""
    found = hashlib.blake2b(digest_size=16)
    places = [medium.where]
    if isinstance(medium, Video) and medium.pictures:
        places = [*medium.pictures]
    for where in places:
        if where.path is None and where.data is None:
            return ""
        with where.open() as stream:
            while piece := stream.read(_PIECE_BYTES):
                found.update(piece)
    return found.hexdigest()
