"""What bytes are, by what they begin with; never by what their sender calls them.

Knows the first bytes of formats; must not decode anything.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What bytes may be."""

    IMAGE = "image"
    AUDIO = "audio"
    CONTAINER = "video or sound"  # its streams tell which
    TEXT = "text"
    OTHER = "other"


_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")
_AUDIO = (b"fLaC", b"OggS", b"ID3", b"FORM", b"#!AMR")
_CONTAINERS = (b"\x1aE\xdf\xa3", b"\x00\x00\x01\xba", b"FLV")
_RIFF = {b"WEBP": Kind.IMAGE, b"WAVE": Kind.AUDIO, b"AVI ": Kind.CONTAINER}
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1")
# MPEG audio and ADTS: eleven ones, and then a layer or version that is not reserved.
_SYNC = 0xE0
_HEAD_BYTES = 4096


def kind_of(data: bytes) -> Kind:
    """Return what bytes are; `Kind.OTHER` for formats that are not taken."""
    head = data[:_HEAD_BYTES]
    if head.startswith(_IMAGES):
        return Kind.IMAGE
    if head.startswith(_AUDIO):
        return Kind.AUDIO
    if head.startswith(_CONTAINERS):
        return Kind.CONTAINER
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], Kind.OTHER)
    if head[4:8] == b"ftyp":
        return Kind.OTHER if head[8:12] in _STILL_BRANDS else Kind.CONTAINER
    if len(head) > 2 and head[0] == 0xFF and head[1] & _SYNC == _SYNC:
        return Kind.AUDIO
    return Kind.TEXT if _is_text(data) else Kind.OTHER


def first_bytes(data: bytes) -> str:
    """Return the first bytes as a message shows them."""
    return data[:4].hex(" ") if data else "none"


def _is_text(data: bytes) -> bool:
    if b"\0" in data[:_HEAD_BYTES]:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return bool(data)
