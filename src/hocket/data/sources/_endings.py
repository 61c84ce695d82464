"""Which endings of files are pictures, sounds and videos.

Knows names; what a file really holds is found when it is decoded.
"""

from __future__ import annotations

_ENDINGS = {
    "image": "avif bmp gif jpeg jpg png ppm tif tiff webp",
    "audio": "aac aiff flac m4a mp3 ogg opus wav",
    "video": "avi m4v mkv mov mp4 mpeg mpg webm",
}
_KINDS = {ending: kind for kind, endings in _ENDINGS.items() for ending in endings.split()}


def medium_kind(ending: str) -> str | None:
    """Return ``image``, ``audio``, ``video`` or None for an ending: ``jpg``, ``seg.PNG``."""
    return _KINDS.get(ending.rpartition(".")[2].lower())
