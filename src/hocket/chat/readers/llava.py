r"""Rows as LLaVA and its successors write them: ``conversations`` of ``from`` and ``value``.

A row::

    {"id": "a1", "image": "a.png",
     "conversations": [{"from": "human", "value": "<image>\nWhat digit is this?"},
                       {"from": "gpt", "value": "Seven."}]}

``image`` (or ``images``), ``audio`` (or ``audios``) and ``video`` (or ``videos``) hold a path,
``{"path": ...}`` or a list of them. ``<image>``, ``<audio>`` and ``<video>`` in human turns stand
for the media in order. Knows rows and paths; must not open a medium or know a tokenizer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from hocket._errors import ReaderError, did_you_mean
from hocket.chat.conversation import Conversation, Json, Medium, Message, Part, Role, Text
from hocket.chat.readers import readers
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.locate import locate
from hocket.media.video import Video

_NOUNS = {"image": "image", "audio": "audio file", "video": "video"}
_PLACEHOLDER = re.compile(r"<(image|audio|video)>")
_ROLES = {
    "system": Role.SYSTEM,
    "human": Role.USER,
    "user": Role.USER,
    "gpt": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "ignored_gpt": Role.ASSISTANT,
}
_UNTRAINED = "ignored_gpt"
_OWN_KEYS = {"id", "conversations", *_NOUNS, *(f"{kind}s" for kind in _NOUNS)}
_PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_MAX_SHOWN = 40

# One medium before its files are looked for: a path, or the pictures that are a video's frames.
_Reference = str | tuple[str, ...]


class _Turn(NamedTuple):
    speaker: str
    value: str

    @property
    def role(self) -> Role:
        return _ROLES[self.speaker]


@readers.register
def llava(row: Mapping[str, Json], *, root: Path, where: str) -> Conversation:
    r"""Return a LLaVA-style row as a conversation.

    Placeholders in human turns are replaced by the media in order, and every other character is
    kept, the newline beside a placeholder too. If no turn holds the placeholder of a kind that
    the row has media of, these media go before the text of the first human turn, each followed
    by a newline: LLaVA's ``<image>\n``. Any other difference in number is an error.

    A placeholder in a system or gpt turn is plain text and stands for no medium.

    A list of pictures under ``video`` is one video of frames; any other list holds one medium
    per entry, and an entry of ``videos`` may itself be a list of pictures. ``ignored_gpt`` turns
    are read and not learned. Keys that are not named here go to ``meta``.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages; a row without an ``id`` gets
            its row number.

    Raises:
        ReaderError: the row has another shape, turns in another order, an empty answer, or other
            numbers of placeholders and media.
        MediaError: a path that no file has.
    """
    _check_object(row, where)
    sample = _id(row, where)
    at = f"{where} (id {_short(sample)})" if row.get("id") is not None else where
    turns = _turns(row, at)
    _check_order(turns, at)
    references = {kind: _references(row, kind, at) for kind in _NOUNS}
    front = _front(turns, references, at)
    media = {
        kind: [_medium(kind, one, root=root, at=at) for one in references[kind]] for kind in _NOUNS
    }
    messages = []
    for turn in turns:
        parts: tuple[Part, ...] = (Text(turn.value),)
        if turn.role is Role.USER:
            parts = _fill(front + turn.value, media)
            front = ""
        train = False if turn.speaker == _UNTRAINED else None
        messages.append(Message(turn.role, parts, train))
    meta = {key: value for key, value in row.items() if key not in _OWN_KEYS}
    return Conversation(id=sample, messages=tuple(messages), meta=meta, source=where)


def _check_object(row: object, where: str) -> None:
    if not isinstance(row, Mapping):
        raise ReaderError(
            f"{where}: the row is {_kind(row)}, expected an object with 'conversations'. "
            f"Check that the file is a list of objects."
        )


def _id(row: Mapping[str, Json], where: str) -> str:
    value = row.get("id")
    if value is None:
        numbers = re.findall(r"\brow (\d+)", where)
        return numbers[-1] if numbers else where
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ReaderError(
            f"{where}: 'id' is {_kind(value)} ({_short(value)}), expected text or a whole number. "
            f"Correct it or leave it out."
        )
    _check_characters(str(value), f"{where}: 'id'")
    return str(value)


def _turns(row: Mapping[str, Json], at: str) -> list[_Turn]:
    if "conversations" not in row:
        raise ReaderError(
            f"{at}: no key 'conversations' (found: {_names(row)}), expected a list of turns. "
            f"Rename the key or choose another reader."
        )
    found = row["conversations"]
    if not isinstance(found, list):
        raise ReaderError(
            f"{at}: 'conversations' is {_kind(found)}, expected a list of turns. "
            f"Put the turns in [ ]."
        )
    if not found:
        raise ReaderError(
            f"{at}: 'conversations' is empty, expected a human and a gpt turn. "
            f"Add them or remove the row."
        )
    return [_turn(one, f"{at}: conversations[{index}]") for index, one in enumerate(found)]


def _turn(turn: Json, at: str) -> _Turn:
    if not isinstance(turn, dict):
        raise ReaderError(
            f"{at} is {_kind(turn)}, expected an object with 'from' and 'value'. Correct the turn."
        )
    for key in ("from", "value"):
        if key not in turn:
            raise ReaderError(
                f"{at} has no '{key}' (found: {_names(turn)}), expected 'from' and 'value'. "
                f"Rename its keys or choose another reader."
            )
    speaker, value = turn["from"], turn["value"]
    if not isinstance(speaker, str) or speaker not in _ROLES:
        hint = did_you_mean(speaker, _ROLES) if isinstance(speaker, str) else ""
        raise ReaderError(
            f"{at}.from is {_short(speaker)}.{hint} Expected one of: {', '.join(_ROLES)}."
        )
    if not isinstance(value, str):
        raise ReaderError(
            f"{at}.value is {_kind(value)} ({_short(value)}), expected text. Put it in quotes."
        )
    _check_characters(value, f"{at}.value")
    if _ROLES[speaker] is Role.ASSISTANT and not value.strip():
        raise ReaderError(
            f"{at}.value is empty, expected the answer of {speaker!r}. "
            f"Fill it in or remove the row."
        )
    return _Turn(speaker, value)


def _check_characters(value: str, at: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ReaderError(
            f"{at} holds half a character, {value[error.start]!a}, at position {error.start}; "
            f"expected valid Unicode. Write the character whole."
        ) from error


def _check_order(turns: Sequence[_Turn], at: str) -> None:
    first = 1 if turns[0].role is Role.SYSTEM else 0
    if first == len(turns):
        raise ReaderError(
            f"{at}: 'conversations' holds a system turn only, expected a human turn after it. "
            f"Add one or remove the row."
        )
    for index, turn in enumerate(turns[first:], start=first):
        place = f"{at}: conversations[{index}].from is {turn.speaker!r}"
        if turn.role is Role.SYSTEM:
            raise ReaderError(
                f"{place}, but a system turn may only be the first. Move or remove it."
            )
        if index == first and turn.role is not Role.USER:
            raise ReaderError(
                f"{place}, expected 'human' to speak first. Add the question or remove the turn."
            )
        if index > first and turn.role is turns[index - 1].role:
            raise ReaderError(
                f"{place}, like the turn before; expected human and gpt in turns. "
                f"Merge the two turns or add the one between them."
            )


def _references(row: Mapping[str, Json], kind: str, at: str) -> list[_Reference]:
    keys = [key for key in (kind, f"{kind}s") if row.get(key) not in (None, [])]
    if not keys:
        return []
    if len(keys) > 1:
        raise ReaderError(
            f"{at}: both '{keys[0]}' and '{keys[1]}' are given, so their order is unknown. "
            f"Put all paths into one of them."
        )
    key = keys[0]
    value = row[key]
    if not isinstance(value, list):
        return [_path(value, key, at)]
    if key == "videos":
        return [_frames(one, at) if isinstance(one, list) else _path(one, key, at) for one in value]
    paths = [_path(one, key, at) for one in value]
    if key == "video" and all(_is_picture(path) for path in paths):
        return [tuple(paths)]
    return [*paths]


def _frames(value: list[Json], at: str) -> tuple[str, ...]:
    paths = tuple(_path(one, "videos", at) for one in value)
    if not paths or not all(_is_picture(path) for path in paths):
        raise ReaderError(
            f"{at}: 'videos' holds the list {_short(value)}, expected the pictures of one video. "
            f"Name pictures in it, or write the path of a video without [ ]."
        )
    return paths


def _path(value: Json, key: str, at: str) -> str:
    path = value.get("path") if isinstance(value, dict) else value
    if not isinstance(path, str):
        raise ReaderError(
            f"{at}: '{key}' holds {_kind(value)} ({_short(value)}), expected a path, "
            f'{{"path": ...}} or a list of them. Correct the row.'
        )
    return path


def _is_picture(path: str) -> bool:
    return PurePath(path).suffix.lower() in _PICTURES


def _front(turns: Sequence[_Turn], references: Mapping[str, Sequence[_Reference]], at: str) -> str:
    """Return the placeholders to put before the first human turn, having compared the numbers."""
    held = [(turn, kind) for turn in turns for kind in _PLACEHOLDER.findall(turn.value)]
    asked = Counter(kind for turn, kind in held if turn.role is Role.USER)
    anywhere = {kind for _, kind in held}
    front = ""
    for kind, noun in _NOUNS.items():
        wanted, given = asked[kind], len(references[kind])
        if wanted == given:
            continue
        if given and kind not in anywhere:
            front += f"<{kind}>\n" * given
            continue
        text = ", and one in another turn is plain text" if kind in anywhere and not wanted else ""
        raise ReaderError(
            f"{at}: {_count(wanted, f'<{kind}> placeholder')} but {_count(given, noun)}{text}. "
            f"Edit the row so that its human turns hold one <{kind}> for each {noun}."
        )
    return front


def _medium(kind: str, reference: _Reference, *, root: Path, at: str) -> Medium:
    if isinstance(reference, tuple):
        return Video.from_frames([locate(one, root=root, where=at) for one in reference])
    path = locate(reference, root=root, where=at)
    if kind == "image":
        return Image.from_path(path)
    return Audio.from_path(path) if kind == "audio" else Video.from_path(path)


def _fill(value: str, media: Mapping[str, list[Medium]]) -> tuple[Part, ...]:
    """Cut the text at its placeholders and take the media from the front of their lists."""
    parts: list[Part] = []
    # With one group in the pattern, every second piece is what the group matched.
    for index, piece in enumerate(_PLACEHOLDER.split(value)):
        if index % 2:
            parts.append(media[piece].pop(0))
        elif piece:
            parts.append(Text(piece))
    return tuple(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _names(row: Mapping[str, Json]) -> str:
    return ", ".join(_short(key) for key in list(row)[:6]) or "nothing"


def _short(value: object) -> str:
    shown = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[: _MAX_SHOWN - 3]}..."


def _kind(value: object) -> str:
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "text", type(None): "null"}
    if isinstance(value, bool):
        return "true or false"
    return kinds.get(type(value), "a number")
