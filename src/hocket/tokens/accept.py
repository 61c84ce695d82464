"""What callers may give as a picture, sound or video, turned into media.

Knows files, bytes, arrays and PIL pictures; must not know models or tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pil

from hocket._errors import DataError
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video


def as_list(items: Any) -> list[Any]:
    """Return a flat list of one, several or no items, or of lists of them."""
    if items is None:
        return []
    if not isinstance(items, list | tuple):
        return [items]
    return [one for item in items for one in as_list(item)]


def as_image(item: Any) -> Image:
    """Accept an `Image`, a path, bytes, a PIL picture or a uint8 array (H, W, 3).

    Raises:
        DataError: anything else.
    """
    if isinstance(item, Image):
        return item
    if isinstance(item, bytes):
        return Image.from_bytes(item)
    if isinstance(item, Pil.Image):
        return Image.from_pil(item)
    if isinstance(item, np.ndarray):
        return Image.from_array(item)
    return Image.from_path(_path(item, "picture"))


def as_audio(item: Any, *, rate: int) -> Audio:
    """Accept an `Audio`, a path, bytes, or a float32 array (L,) at `rate`.

    Raises:
        DataError: anything else.
    """
    if isinstance(item, Audio):
        return item
    if isinstance(item, bytes):
        return Audio.from_bytes(item)
    if isinstance(item, np.ndarray):
        return Audio.from_array(item, rate=rate)
    return Audio.from_path(_path(item, "sound"))


def as_video(item: Any) -> Video:
    """Accept a `Video`, the path of a file or of a folder of frames, or uint8 (N, H, W, 3).

    Frames of a folder or an array are a second apart, where no file in the folder says when.

    Raises:
        DataError: anything else.
    """
    if isinstance(item, Video):
        return item
    if isinstance(item, np.ndarray):
        return Video.from_array(item, np.arange(len(item), dtype=np.float64))
    path = _path(item, "video")
    return Video.from_folder(path) if path.is_dir() else Video.from_path(path)


def _path(item: Any, noun: str) -> Path:
    if not isinstance(item, str | Path):
        raise DataError(f"a {noun} must be a path, bytes or an array; found {type(item).__name__}.")
    return Path(item)
