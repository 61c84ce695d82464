"""The media of a row: which keys name them, where their files are, where their places are.

A reference is a path, bytes (as Parquet and tar shards hold them), a ``data:`` URL with base64,
or the pictures that are the frames of one video. References are read first and files are looked
for last, so a row whose numbers do not fit costs no look at the disk.

Knows keys and paths; must not open a medium or know turns.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


Reference = str | Bytes | tuple[str, ...]
"""One medium before its files are looked for; a tuple holds the pictures of a video."""
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
    for each entry, and an entry of a list of videos may itself be a list of pictures.

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
    if not isinstance(value, list):
        return [reference_of(value, key, at)]
    if kind != "video":
        return [reference_of(one, key, at) for one in value]
    nested = [_frames(one, key, at) if isinstance(one, list) else one for one in value]
    if any(isinstance(one, tuple) for one in nested):
        return [one if isinstance(one, tuple) else reference_of(one, key, at) for one in nested]
    flat = [reference_of(one, key, at) for one in value]
    paths = [one for one in flat if isinstance(one, str)]
    if len(paths) < len(flat):
        return flat
    pictures = key != "videos" and all(_is_picture(path) for path in paths)
    return [tuple(paths)] if pictures or key == frames_key else flat


def reference_of(value: object, key: str, at: str) -> Reference:
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
    if isinstance(reference, tuple):
        frames = [locate(one, root=root, where=at) for one in reference]
        return Video.from_frames(frames, fps=rate)
    if isinstance(reference, str) and is_embedded(reference):
        reference = Bytes(_decoded(kind, reference, at), f"{at}: {kind} in the row")
    if isinstance(reference, Bytes):
        return _of_bytes(kind, reference)
    path = locate(reference, root=root, where=at, folders=kind == "video")
    if kind == "image":
        return Image.from_path(path)
    if kind == "audio":
        return Audio.from_path(path)
    return Video.from_folder(path, fps=rate) if path.is_dir() else Video.from_path(path)


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


def _of_bytes(kind: str, found: Bytes) -> Medium:
    if kind == "image":
        return Image.from_bytes(found.data, found.name)
    if kind == "audio":
        return Audio.from_bytes(found.data, found.name)
    return Video.from_bytes(found.data, found.name)


def _frames(value: Sequence[object], key: str, at: str) -> tuple[str, ...]:
    found = [reference_of(one, key, at) for one in value]
    paths = tuple(one for one in found if isinstance(one, str))
    if not paths or len(paths) < len(found) or not all(_is_picture(path) for path in paths):
        raise ReaderError(
            f"{at}: '{key}' holds the list {short(value)}, expected the pictures of one video. "
            f"Name pictures in it, or write the path of a video without [ ]."
        )
    return paths


def _is_picture(path: str) -> bool:
    return PurePath(path).suffix.lower() in _PICTURES
