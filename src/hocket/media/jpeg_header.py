"""The size of a JPEG picture, read off the first bytes of its file.

Pillow reads headers of every kind, but takes a tenth of a millisecond for it, and where pictures
are decoded under guard, a message to another process too. Most pictures are plain JPEG files, and
their header is a list of lengths. Whatever is unusual is left to Pillow; what is damaged behind the
header shows when it is decoded, here as there.
"""

from __future__ import annotations

import struct

HEAD_BYTES = 16_384
"""How much of a file is worth reading for this."""

_START = b"\xff\xd8\xff"
_SCAN = 0xDA
# Baseline, extended and progressive frames, which Pillow decodes.
_FRAMES = (0xC0, 0xC1, 0xC2)
# Tables, comments, and applications that neither turn a picture nor put several into one file, as
# Exif and XMP (APP1) or the multi-picture format (APP2) do.
_PLAIN = (0xDB, 0xC4, 0xDD, 0xFE, 0xE0, 0xED, 0xEE)
_PROFILE = b"ICC_PROFILE\0"
_LENGTH = struct.Struct(">H")
_FRAME = struct.Struct(">BHHB")


def jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Return (height, width) as Pillow has them, or None where it takes Pillow to tell.

    Args:
        head: the first bytes of a file, `HEAD_BYTES` or all.
    """
    if not head.startswith(_START):
        return None
    size = None
    at = 2
    while at + 4 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == _SCAN:
            return size
        (length,) = _LENGTH.unpack_from(head, at + 2)
        if marker in _FRAMES and at + 10 <= len(head) and size is None:
            bits, height, width, layers = _FRAME.unpack_from(head, at + 4)
            if bits != 8 or layers not in (1, 3) or not height or not width:
                return None
            size = height, width
        elif marker not in _PLAIN and not (marker == 0xE2 and head.startswith(_PROFILE, at + 4)):
            return None
        if length < 2:
            return None
        at += 2 + length
    return None
