"""Text and media as a person reads them in a terminal or a page.

Text of data sets and models may hold anything, terminal escape codes included; what passes through
here cannot move the cursor, ring the bell or turn the line around. It must not know tokens or
models.
"""

from __future__ import annotations

from hocket.chat.conversation import Medium
from hocket.media.audio import Audio
from hocket.media.image import Image

# Characters that reverse the direction of what follows.
_TURNING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_UNSAFE = [*range(0x20), *range(0x7F, 0xA0), *map(ord, _TURNING), *range(0xD800, 0xE000)]
_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _UNSAFE}
_SPOKEN = {code: text for code, text in _ESCAPES.items() if chr(code) not in "\n\t"}


def legible(text: str, *, keep_lines: bool = False) -> str:
    r"""Return the text with control characters spelled out, such as ``\x1b``.

    Args:
        text: any text.
        keep_lines: leave line ends and tabs as they are.
    """
    return text.translate(_SPOKEN if keep_lines else _ESCAPES)


def describe(medium: Medium) -> str:
    """Return the size of a picture, the length of a sound, or both of a video.

    Raises:
        MediaError: its header cannot be read.
    """
    if isinstance(medium, Image):
        height, width = medium.size()
        return f"{width} x {height} pixels"
    if isinstance(medium, Audio):
        return f"{medium.seconds():.2f} s"
    info = medium.probe()
    return f"{info.seconds:.2f} s, {info.frames} frames of {info.width} x {info.height} pixels"
