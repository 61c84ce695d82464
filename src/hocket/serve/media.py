"""Media as clients send them, turned into media as a conversation holds them.

A part is any of the forms of OpenAI, vLLM, SGLang, llama.cpp and Ollama: an object or a bare URL,
base64 with or without ``data:``, with or without ``type``. Its first bytes decide what it is, never
what it is called. Nothing is downloaded or read from the disk unless the operator allowed it. Knows
the forms of parts; must not know models.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hocket._errors import MediaError
from hocket.chat.conversation import Part, Text
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.limits import DEFAULT_LIMITS
from hocket.media.locate import locate
from hocket.media.video import Video
from hocket.media.where import Where
from hocket.serve.decode import Decoder, UnreadableError
from hocket.serve.errors import BadPartError
from hocket.serve.fetch import Fetcher
from hocket.serve.limits import ServeLimits
from hocket.serve.sniff import Kind, first_bytes, kind_of

_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_IMAGE, _AUDIO, _VIDEO, _FILE = "image", "sound", "video", "file"
# Type of a part -> what it holds, and the keys that may hold it, the usual one first.
_MEDIA = {
    "image_url": (_IMAGE, ("image_url", "url")),
    "input_image": (_IMAGE, ("image_url", "url", "data")),
    "image": (_IMAGE, ("image", "image_url", "url", "data")),
    "input_audio": (_AUDIO, ("input_audio", "data", "url")),
    "audio_url": (_AUDIO, ("audio_url", "url")),
    "audio": (_AUDIO, ("audio", "audio_url", "url", "data")),
    "video_url": (_VIDEO, ("video_url", "url")),
    "input_video": (_VIDEO, ("input_video", "video_url", "url", "data")),
    "video": (_VIDEO, ("video", "video_url", "url", "data")),
    "file": (_FILE, ("file",)),
    "input_file": (_FILE, ("file_data", "file_url", "file")),
}
KNOWN_TYPES = (*_TEXTS, *_MEDIA)
"""Types of parts that are taken."""
_INSIDE = ("url", "data", "file_data", "file_url")
_FILE_URL = "file://"
_MOST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class MediaReader:
    """Reads parts of messages.

    Attributes:
        limits: of the server.
        fetcher: downloads what may be downloaded.
        root: folder that ``file://`` URLs may name files of; None for none.
    """

    limits: ServeLimits
    fetcher: Fetcher
    root: Path | None = None

    def part(self, part: object, at: str, decoder: Decoder) -> Part:
        """Return a part of a message; a medium has been looked at, and is not decoded.

        Args:
            part: what the client sent.
            at: where it stands, such as ``messages[0].content[1]``.
            decoder: opens it.

        Raises:
            BadPartError: it is of no known form, or the medium cannot be taken.
        """
        if isinstance(part, str):
            return Text(part)
        if not isinstance(part, Mapping):
            raise BadPartError(at, "expected an object with 'type'.", code="bad_part")
        kind = _type_of(part, at)
        if kind in _TEXTS:
            return Text(_text(part.get(_TEXTS[kind]), f"{at}.{_TEXTS[kind]}"))
        wanted, keys = _MEDIA[kind]
        return self.medium(self._bytes(_reference(part, keys, at), at), wanted, at, decoder)

    def medium(self, data: bytes, wanted: str, at: str, decoder: Decoder) -> Part:
        """Return the medium of encoded bytes, or the text where a file holds that.

        Args:
            data: the bytes.
            wanted: ``image``, ``sound``, ``video`` or ``file`` for any.
            at: where they stand in the request.
            decoder: opens them.

        Raises:
            BadPartError: they are something else, or over a limit.
        """
        if len(data) > self.limits.part_bytes:
            raise self._too_large(at, len(data))
        found = self._kind(data, wanted, at, decoder)
        if found == Kind.TEXT:
            return Text(data.decode("utf-8"))
        made: Image | Audio | Video
        try:
            if found == _IMAGE:
                made = Image.from_bytes(data, at)
                decoder.call(at, made.size, DEFAULT_LIMITS)
            elif found == _AUDIO:
                made = Audio.from_bytes(data, at)
                decoder.call(at, made.seconds, DEFAULT_LIMITS)
            else:
                made = Video.from_bytes(data, at)
                decoder.call(at, made.probe, DEFAULT_LIMITS)
        except UnreadableError as error:
            raise _unreadable(at, found, data) from error
        return made

    def _kind(self, data: bytes, wanted: str, at: str, decoder: Decoder) -> str:
        """Return what bytes are: a noun of a medium, or text for a file that holds that."""
        kind = kind_of(data)
        if kind is Kind.TEXT and wanted == _FILE:
            return kind
        found = {Kind.IMAGE: _IMAGE, Kind.AUDIO: _AUDIO}.get(kind, "")
        if data.startswith(b"GIF") and wanted == _VIDEO:
            found = _VIDEO
        if kind is Kind.CONTAINER:
            try:
                streams = decoder.streams(at, data)
            except UnreadableError as error:
                raise _unreadable(at, "video" if wanted == _FILE else wanted, data) from error
            heard = streams.audio and (wanted == _AUDIO or not streams.video)
            found = _AUDIO if heard else _VIDEO if streams.video else ""
        if not found:
            raise _unreadable(
                at, "image, sound, video or text" if wanted == _FILE else wanted, data
            )
        if wanted not in (found, _FILE):
            raise BadPartError(
                at, f"expected {_a(wanted)}, found {_a(found)}. Send it as a part of that type."
            )
        return found

    def _bytes(self, reference: str, at: str) -> bytes:
        """Return the bytes that a reference stands for or leads to."""
        head = reference[:_MOST_SHOWN].lower()
        if head.startswith(("http://", "https://")):
            return self._fetched(reference, at)
        if head.startswith(_FILE_URL):
            return self._read(reference, at)
        if head.startswith("data:"):
            fields, comma, body = reference.partition(",")
            if not comma or not fields.lower().endswith(";base64"):
                raise BadPartError(at, "a data: URL without base64. Send 'data:TYPE;base64,...'.")
            return self._decoded(body, at)
        if "://" in head:
            raise BadPartError(
                at,
                f"the scheme {head.partition(':')[0]!r} is not taken. Send a data: URL.",
                code="media_scheme_not_allowed",
            )
        return self._decoded(reference, at)

    def _decoded(self, text: str, at: str) -> bytes:
        if len(text) * 3 // 4 > self.limits.part_bytes + 3:
            raise self._too_large(at, len(text) * 3 // 4)
        try:
            # Some clients break lines, and some write the alphabet of URLs.
            plain = "".join(text.split()).translate({45: "+", 95: "/"})
            data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadPartError(
                at, "not base64. Send 'data:TYPE;base64,...', or base64 alone."
            ) from error
        if not data:
            raise BadPartError(at, "the medium is empty (0 bytes). Fill it in.")
        return data

    def _fetched(self, url: str, at: str) -> bytes:
        try:
            self.fetcher.check(url)
        except MediaError as error:
            raise BadPartError(at, str(error), code="media_host_not_allowed") from error
        try:
            return self.fetcher.fetch(url)
        except MediaError as error:
            raise BadPartError(at, str(error), code="media_not_fetched") from error

    def _read(self, url: str, at: str) -> bytes:
        if self.root is None:
            raise BadPartError(
                at,
                "file:// URLs are off on this server. Send a data: URL.",
                code="media_scheme_not_allowed",
            )
        try:
            path = unquote(url[len(_FILE_URL) :], errors="strict")
            where = Where.of_path(locate(path, root=self.root, where=at, confined=True))
            where.check(self.limits.media)
            with where.open() as stream:
                return stream.read(self.limits.part_bytes + 1)
        except (MediaError, UnicodeDecodeError, OSError) as error:
            # Whether a file is there is nobody's business.
            raise BadPartError(
                at, "no such file in the folder of media of this server.", code="media_not_found"
            ) from error

    def _too_large(self, at: str, size: int) -> BadPartError:
        return BadPartError(
            at,
            f"{size} bytes, but at most {self.limits.part_bytes} are allowed. Send a smaller one.",
            code="media_too_large",
        )


def is_medium(part: object) -> bool:
    """Return whether a part, as a client sends it, holds a medium."""
    return isinstance(part, Mapping) and _named(part) in _MEDIA


def _named(part: Mapping[str, Any]) -> object:
    """Return the type of a part, or the key that stands for it."""
    given = part.get("type")
    if given is None:
        given = next((key for key in KNOWN_TYPES if key in part), None)
    return given


def _type_of(part: Mapping[str, Any], at: str) -> str:
    kind = _named(part)
    if not isinstance(kind, str) or kind not in KNOWN_TYPES:
        raise BadPartError(
            f"{at}.type",
            f"{str(kind)[:_MOST_SHOWN]!r} is not taken. Known: {', '.join(KNOWN_TYPES)}.",
            code="bad_part",
        )
    return kind


def _reference(part: Mapping[str, Any], keys: tuple[str, ...], at: str) -> str:
    """Return the URL or base64 of a part, wherever it stands."""
    key = next((one for one in keys if part.get(one) is not None), None)
    if key is None:
        _refuse_id(part, at)
        raise BadPartError(at, f"holds no {keys[0]!r}. Add it.", code="bad_part")
    value = part[key]
    if isinstance(value, Mapping):
        inside = next((one for one in _INSIDE if value.get(one) is not None), None)
        if inside is None:
            _refuse_id(value, f"{at}.{key}")
            raise BadPartError(
                f"{at}.{key}", f"expected one of {', '.join(_INSIDE)}.", code="bad_part"
            )
        key, value = f"{key}.{inside}", value[inside]
    return _text(value, f"{at}.{key}")


def _refuse_id(part: Mapping[str, Any], at: str) -> None:
    if part.get("file_id") is not None:
        raise BadPartError(
            f"{at}.file_id",
            "this server keeps no files. Send the bytes as base64.",
            code="no_file_store",
        )


def _text(value: object, at: str) -> str:
    if not isinstance(value, str):
        raise BadPartError(at, "expected text.", code="bad_part")
    return value


def _unreadable(at: str, noun: str, data: bytes) -> BadPartError:
    return BadPartError(at, f"not a readable {noun} (first bytes {first_bytes(data)}).")


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
