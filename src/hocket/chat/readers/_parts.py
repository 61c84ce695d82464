"""Content of messages as lists of parts: text and media in their order.

Knows the parts of OpenAI's, Qwen's and transformers' messages; must not look for files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hocket._errors import ReaderError, did_you_mean
from hocket.chat.conversation import Json, Text
from hocket.chat.readers._media import Bytes, Reference, base64_of, references
from hocket.chat.readers._rows import kind_of, names_of, rest, short, text_of

# Type of a part -> kind of its medium and the keys that may hold it.
_MEDIA: dict[str, tuple[str, tuple[str, ...]]] = {
    "image_url": ("image", ("image_url",)),
    "input_image": ("image", ("image_url",)),
    "audio_url": ("audio", ("audio_url",)),
    "input_audio": ("audio", ("input_audio",)),
    "video_url": ("video", ("video_url",)),
    "image": ("image", ("image", "path", "url", "base64")),
    "audio": ("audio", ("audio", "path", "url", "base64")),
    "video": ("video", ("video", "path", "url", "base64")),
}
_TEXTS = ("text", "input_text", "output_text")


@dataclass(frozen=True, slots=True)
class MediumPart:
    """A medium in a message, not looked for yet.

    Attributes:
        kind: ``image``, ``audio`` or ``video``.
        reference: what the part names; None means the next medium of the row's list.
        at: names the row and the part.
    """

    kind: str
    reference: Reference | None
    at: str


def content_parts(content: Json, at: str) -> tuple[list[Text | MediumPart], dict[str, Json]]:
    """Return the parts of a message, and what they carry besides: number of a part -> its keys.

    Args:
        content: text, null or a list of parts.
        at: names the row and the message.

    Raises:
        ReaderError: content or a part of another shape.
    """
    if content is None:
        return [], {}
    if not isinstance(content, list):
        text = text_of(content, at)
        return ([Text(text)] if text else []), {}
    parts: list[Text | MediumPart] = []
    more: dict[str, Json] = {}
    for index, one in enumerate(content):
        part, extra = _part(one, f"{at}[{index}]")
        parts.append(part)
        if extra:
            more[str(index)] = extra
    return parts, more


def _part(part: Json, at: str) -> tuple[Text | MediumPart, dict[str, Json]]:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        found = names_of(part) if isinstance(part, dict) else kind_of(part)
        raise ReaderError(
            f"{at} holds {found}, expected a part with 'type'. "
            f'Write text as {{"type": "text", "text": ...}}.'
        )
    kind = str(part["type"])
    if kind in _TEXTS:
        if "text" not in part:
            raise ReaderError(f"{at} has no 'text' (found: {names_of(part)}). Add it.")
        return Text(text_of(part["text"], f"{at}.text")), rest(part, {"type", "text"})
    if kind not in _MEDIA:
        known = (*_TEXTS, *_MEDIA)
        raise ReaderError(
            f"{at}.type is {short(kind)}.{did_you_mean(kind, known)} "
            f"Expected one of: {', '.join(known)}."
        )
    medium, keys = _MEDIA[kind]
    given = [key for key in keys if part.get(key) is not None]
    if len(given) > 1 or (not given and len(keys) == 1):
        expected = " or ".join(repr(key) for key in keys)
        raise ReaderError(
            f"{at} of type {kind!r} holds {names_of(part)}, expected one of {expected}. Correct it."
        )
    if not given:
        return MediumPart(medium, None, at), rest(part, {"type"})
    reference, more = _reference(part, given[0], medium, at)
    return MediumPart(medium, reference, at), rest(part, {"type", *keys}) | more


def _reference(
    part: Mapping[str, Json], key: str, kind: str, at: str
) -> tuple[Reference, dict[str, Json]]:
    """Return what a part names, and what stands beside it in an object of its own."""
    value = part[key]
    place = f"{at}.{key}"
    if key == "base64":
        return Bytes(base64_of(text_of(value, place), place), place), {}
    if isinstance(value, dict) and "data" in value:
        data = base64_of(text_of(value["data"], f"{place}.data"), f"{place}.data")
        more = rest(value, {"data"})
        return Bytes(data, place), {key: more} if more else {}
    if isinstance(value, dict) and "url" in value:
        more = rest(value, {"url"})
        return text_of(value["url"], f"{place}.url"), {key: more} if more else {}
    found = references({kind: value}, kind, place)
    if len(found) != 1:
        raise ReaderError(
            f"{place} is {kind_of(value)} ({short(value)}), expected one {kind}. "
            f"Write a part for each."
        )
    return found[0], {}
