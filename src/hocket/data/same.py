"""Whether two conversations say the same, and where they do not.

What a row is called (`source`), how text is cut into parts, and a mark that only repeats what a
role means anyway make no difference. Knows conversations; must not open a medium.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from hocket.chat.conversation import Conversation, Json, Medium, Message, Text
from hocket.data.writers._rows import is_learned, kind_of
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.media.where import Where

Identity = tuple[str, ...]
"""A medium as something to compare: its file, or a hash of its bytes or samples."""


def difference(
    one: Conversation, other: Conversation, *, moved: Callable[[Identity], Identity] | None = None
) -> str:
    """Return the first field in which two conversations differ, or an empty text.

    Args:
        one: the original.
        other: what it is compared with.
        moved: what became of a medium of the original; None compares the media as they are.
    """
    if one.id != other.id:
        return "id"
    if len(one.messages) != len(other.messages):
        return f"messages ({len(one.messages)}, then {len(other.messages)})"
    for index, (mine, its) in enumerate(zip(one.messages, other.messages, strict=True)):
        field = _message_difference(mine, its, moved)
        if field:
            return f"messages[{index}]{field}"
    if [*one.tools] != [*other.tools]:
        return "tools"
    return _meta_difference(one.meta, other.meta)


def identity(medium: Medium) -> Identity:
    """Return what a medium is, as something to compare."""
    kind = kind_of(medium)
    if isinstance(medium, Video) and medium.pictures:
        times = "" if medium.times is None else str(medium.times.tolist())
        rate = f"{medium.picture_fps} {times}"
        return (kind, "pictures", rate, *(":".join(_place(one)) for one in medium.pictures))
    return (kind, *(_place(medium.where) or ("array", _array_hash(medium))))


def _place(where: Where) -> Identity:
    if where.path is not None:
        return ("path", str(where.path))
    if where.data is not None:
        return ("bytes", hashlib.blake2b(where.data, digest_size=16).hexdigest())
    return ()


def _array_hash(medium: Medium) -> str:
    array: np.ndarray | None
    if isinstance(medium, Image):
        array = medium.pixels
    elif isinstance(medium, Audio):
        array = medium.wave
    else:
        array = medium.frames
    digest = hashlib.blake2b(digest_size=16)
    if array is not None:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _message_difference(
    one: Message, other: Message, moved: Callable[[Identity], Identity] | None
) -> str:
    if one.role is not other.role:
        return ".role"
    if is_learned(one) != is_learned(other):
        return ".train"
    mine, its = _pieces(one), _pieces(other)
    if [piece if isinstance(piece, str) else "" for piece in mine] != [
        piece if isinstance(piece, str) else "" for piece in its
    ]:
        return ".text"
    for piece, found in zip(mine, its, strict=True):
        if isinstance(piece, tuple) and (moved(piece) if moved else piece) != found:
            return f", its {piece[0]}"
    return ""


def _pieces(message: Message) -> list[str | Identity]:
    """Return text and media in order, neighbouring texts joined and empty ones left out."""
    pieces: list[str | Identity] = []
    for part in message.parts:
        if not isinstance(part, Text):
            pieces.append(identity(part))
        elif pieces and isinstance(pieces[-1], str):
            pieces[-1] += part.text
        elif part.text:
            pieces.append(part.text)
    return pieces


def _meta_difference(one: Mapping[str, Json], other: Mapping[str, Json]) -> str:
    for key in [*one, *other]:
        if key not in one or key not in other or one[key] != other[key]:
            return f"meta.{key}"
    return ""
