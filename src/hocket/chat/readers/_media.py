"""The media of a row: which keys name them, where their files are, where their places are.

A reference is a path, bytes (as Parquet and tar shards hold them), a ``data:`` URL with base64,
or the pictures that are the frames of one video, themselves of any of these kinds. References are
read first and files are looked for last, so a row whose numbers do not fit costs no look at the
disk.

Knows keys and paths; must not open a medium or know turns.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath

from hocket._errors import ReaderError
from hocket.chat.conversation import Medium
from hocket.chat.readers._rows import Row, kind_of, short
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.locate import locate
from hocket.media.video import Video

NOUNS = {"image": "image", "audio": "audio file", "video": "video"}
"""What messages call a medium of each kind; the keys are the kinds."""
MEDIA_KEYS = {kind: (kind, f"{kind}s") for kind in NOUNS}
"""Keys of a row that name media, for each kind."""
ALL_KEYS = frozenset(key for keys in MEDIA_KEYS.values() for key in keys)
"""Every key of `MEDIA_KEYS`."""

_PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True, slots=True)
class Bytes:
    """An encoded medium that stands in the row itself.

    Attributes:
        data: its bytes.
        name: what error messages call it.
    """

    data: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Frames:
    """A video that is kept as pictures.

    Attributes:
        pictures: paths, ``data:`` URLs or bytes, in order.
        fps: pictures per second; None leaves it to the row.
        times: seconds of each picture, if they are not ``fps`` a second.
    """

    pictures: tuple[str | Bytes, ...]
    fps: float | None = None
    times: tuple[float, ...] | None = None


Reference = str | Bytes | Frames
"""One medium before its files are looked for."""
References = Mapping[str, Sequence[Reference]]
"""The media of a row in order, for each kind."""


def all_references(row: Row, at: str) -> dict[str, list[Reference]]:
    """Return what the row names under ``image``, ``audio``, ``video`` and their plurals.

    Raises:
        ReaderError: two keys of one kind, or something that is no reference.
    """
    return {kind: references(row, kind, at) for kind in NOUNS}


def references(
    row: Row, kind: str, at: str, *, keys: Sequence[str] = (), frames_key: str = ""
) -> list[Reference]:
    """Return the media of one kind that a row names, in order.

    A list of pictures under ``video`` is one video of frames; any other list holds one medium
    for each entry, and an entry of a list of videos may itself be a list of pictures. Frames may
    also be written ``{"frames": [...], "fps": 2, "times": [...]}``.

    Args:
        row: the JSON object.
        kind: ``image``, ``audio`` or ``video``.
        at: names the row.
        keys: spellings of the key; without any those of `MEDIA_KEYS`.
        frames_key: of these, the one whose list is always the frames of one video, whatever the
            files are called.

    Raises:
        ReaderError: two spellings at once, or something that is no reference.
    """
    spellings = keys or MEDIA_KEYS[kind]
    found = [key for key in spellings if row.get(key) is not None and row[key] != []]
    if not found:
        return []
    if len(found) > 1:
        raise ReaderError(
            f"{at}: both '{found[0]}' and '{found[1]}' are given, so their order is unknown. "
            f"Put all paths into one of them."
        )
    key = found[0]
    value = row[key]
    if kind != "video":
        listed = value if isinstance(value, list) else [value]
        return [reference_of(one, key, at) for one in listed]
    if not isinstance(value, list):
        return [_video(value, key, at)]
    videos = [_video(one, key, at) for one in value]
    flat = tuple(one for one in videos if not isinstance(one, Frames))
    if len(flat) < len(videos):
        return videos
    pictures = key != "videos" and all(_is_picture(one) for one in flat)
    return [Frames(flat)] if pictures or key == frames_key else videos


def reference_of(value: object, key: str, at: str) -> str | Bytes:
    """Return one path, ``{"path": ...}``, bytes or ``{"bytes": ..., "path": name}``.

    Raises:
        ReaderError: it is none of them.
    """
    path, data = value, value
    if isinstance(value, Mapping):
        path, data = value.get("path"), value.get("bytes")
    if isinstance(data, bytes):
        name = f": {path}" if isinstance(path, str) and path else ""
        return Bytes(data, f"{at}: '{key}'{name}")
    if not isinstance(path, str):
        raise ReaderError(
            f"{at}: '{key}' holds {kind_of(value)} ({short(value)}), expected a path, "
            f'{{"path": ...}} or a list of them. Correct the row.'
        )
    return path


def is_embedded(reference: Reference) -> bool:
    """Return whether a medium stands in the row itself, so that no file is looked for."""
    if isinstance(reference, str):
        return reference[:5].lower() == "data:"
    return isinstance(reference, Bytes)


def located(
    refs: References, *, root: Path, at: str, fps: float | None = None
) -> dict[str, list[Medium]]:
    """Return the media of a row, their files found below one folder.

    Raises:
        MediaError: a path that no file has.
        ReaderError: a ``data:`` URL that is damaged.
    """
    return {
        kind: [medium(kind, one, root=root, at=at, fps=fps) for one in refs[kind]] for kind in refs
    }


def medium(
    kind: str, reference: Reference, *, root: Path, at: str, fps: float | None = None
) -> Medium:
    """Return the medium of a reference; a folder of frames is a video too.

    Args:
        kind: ``image``, ``audio`` or ``video``.
        reference: what the row holds.
        root: folder that relative paths start from.
        at: names the row.
        fps: frames per second of a video kept as pictures; None counts one a second.

    Raises:
        MediaError: a path that no file has.
        ReaderError: a ``data:`` URL that is damaged.
    """
    rate = 1.0 if fps is None else fps
    if isinstance(reference, Frames):
        places = [image(one, root=root, at=at).where for one in reference.pictures]
        own = rate if reference.fps is None else reference.fps
        return Video.from_frames(places, fps=own, times=reference.times)
    if kind == "image":
        return image(reference, root=root, at=at)
    found = _taken_out(kind, reference, at)
    if isinstance(found, Bytes):
        kept = Audio if kind == "audio" else Video
        return kept.from_bytes(found.data, found.name)
    path = locate(found, root=root, where=at, folders=kind == "video")
    if kind == "audio":
        return Audio.from_path(path)
    return Video.from_folder(path, fps=rate) if path.is_dir() else Video.from_path(path)


def image(reference: str | Bytes, *, root: Path, at: str) -> Image:
    """Return the picture of a reference; arguments and errors as `medium`."""
    found = _taken_out("image", reference, at)
    if isinstance(found, Bytes):
        return Image.from_bytes(found.data, found.name)
    return Image.from_path(locate(found, root=root, where=at))


def url_of(data: bytes, name: str) -> str:
    """Return the ``data:`` URL of a picture, which JSON can hold; the ending says its type."""
    ending = PurePath(name).suffix.lower()
    kind = ending[1:].replace("jpg", "jpeg") if ending in _PICTURES else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def base64_of(text: str, at: str) -> bytes:
    """Return the bytes that base64 stands for; line breaks in it are allowed.

    Raises:
        ReaderError: it is damaged or stands for nothing.
    """
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ReaderError(
            f"{at}: base64 cannot be decoded ({error}). Write it again or save it as a file."
        ) from error
    if not data:
        raise ReaderError(f"{at}: base64 is empty, expected a medium. Fill it in or remove it.")
    return data


def _taken_out(kind: str, reference: str | Bytes, at: str) -> str | Bytes:
    """Return a path, or the bytes that stand in the row."""
    if isinstance(reference, str) and is_embedded(reference):
        return Bytes(_decoded(kind, reference, at), f"{at}: {kind} in the row")
    return reference


def _decoded(kind: str, url: str, at: str) -> bytes:
    head, comma, body = url.partition(",")
    fields = head[len("data:") :].split(";")
    if not comma or fields[-1].lower() != "base64":
        raise ReaderError(
            f"{at}: {short(url)} holds no base64, expected 'data:{kind}/...;base64,...'. "
            f"Encode the medium so or save it as a file."
        )
    found = fields[0].partition("/")[0].lower() if len(fields) > 1 else ""
    if found not in ("", kind, "application"):
        raise ReaderError(
            f"{at}: {short(url)} is of type {found!r}, expected {kind!r}. Correct the type or key."
        )
    return base64_of(body, f"{at}: {kind}")


def _video(value: object, key: str, at: str) -> Reference:
    if isinstance(value, Mapping) and "frames" in value:
        return _described(value, key, at)
    if not isinstance(value, list):
        return reference_of(value, key, at)
    pictures = tuple(reference_of(one, key, at) for one in value)
    if not pictures or not all(_is_picture(one) for one in pictures):
        raise ReaderError(
            f"{at}: '{key}' holds the list {short(value)}, expected the pictures of one video. "
            f"Name pictures in it, or write the path of a video without [ ]."
        )
    return Frames(pictures)


def _described(value: Mapping[str, object], key: str, at: str) -> Frames:
    """Return the frames of an object that also says when they are shown."""
    listed, times = value["frames"], value.get("times")
    if not isinstance(listed, list) or not listed:
        raise ReaderError(
            f"{at}: 'frames' of '{key}' holds {short(listed)}, expected a list of at least one "
            f"picture. Add them or remove the row."
        )
    pictures = tuple(reference_of(one, f"{key}.frames", at) for one in listed)
    fps = None if value.get("fps") is None else _rate(value["fps"], f"{at}: 'fps' of '{key}'")
    if times is None:
        return Frames(pictures, fps)
    if not isinstance(times, list) or len(times) != len(pictures):
        count = len(times) if isinstance(times, list) else kind_of(times)
        raise ReaderError(
            f"{at}: 'times' of '{key}' ({count}) are not one for each of the {len(pictures)} "
            f"frames. Correct them or leave them out."
        )
    seconds = tuple(_number(one, f"{at}: 'times' of '{key}'") for one in times)
    if any(later <= earlier for earlier, later in pairwise(seconds)):
        raise ReaderError(f"{at}: 'times' of '{key}' do not grow: {short(times)}. Sort them.")
    return Frames(pictures, fps, seconds)


def _rate(value: object, at: str) -> float:
    rate = _number(value, at)
    if rate <= 0:
        raise ReaderError(f"{at} is {rate}, expected frames per second above 0. Correct it.")
    return rate


def _number(value: object, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ReaderError(f"{at} holds {kind_of(value)}, expected a number. Correct it.")
    return float(value)


def _is_picture(one: str | Bytes) -> bool:
    path = one.name if isinstance(one, Bytes) else one
    return PurePath(path).suffix.lower() in _PICTURES
