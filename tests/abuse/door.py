"""The way of a stranger's medium into the server: its reader, and the process that decodes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.data.guarded import guarded
from hocket.media.audio import Audio
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.serve.decode import Decoder
from hocket.serve.fetch import Fetcher, FetchOptions
from hocket.serve.limits import ServeLimits
from hocket.serve.media import MediaReader

LIMITS = ServeLimits()
MOST_RESIDENT_BYTES = LIMITS.decoder_bytes
READER = MediaReader(LIMITS, Fetcher(FetchOptions()))
_RATE = 16000


class Door:
    """A reader and its process.

    Attributes:
        decoder: the process.
        peak: most bytes of memory that it was seen to hold.
    """

    def __init__(self) -> None:
        self.decoder = Decoder(LIMITS)
        self.peak = 0

    def take(self, data: bytes, kind: str) -> Any:
        """Decode bytes as the server does.

        Args:
            data: an encoded medium.
            kind: ``image``, ``sound``, ``video`` or ``file``.

        Raises:
            BadPartError: they are not taken.
        """
        try:
            part = READER.medium(data, kind, "messages[0].content[0]", self.decoder)
            return self.load(part)
        finally:
            self._look()

    def part(self, part: object) -> Any:
        """Decode a part of a message, as a client sends it.

        Raises:
            BadPartError: it is not taken.
        """
        return self.load(READER.part(part, "messages[0].content[0]", self.decoder))

    def load(self, part: Any) -> Any:
        """Decode a medium as a prompt does; return the shape of what comes out."""
        whole = Conversation(id="x", messages=(Message(Role.USER, (part,)),), source="x")
        made = guarded(whole, self.decoder).messages[0].parts[0]
        if isinstance(made, Text):
            return made.text
        if isinstance(made, Image):
            return made.load().shape
        if isinstance(made, Audio):
            return made.load(_RATE).shape
        return made.load(Uniform(4))[0].shape

    def _look(self) -> None:
        child = self.decoder._child
        if child is not None and child.process.poll() is None:
            self.peak = max(self.peak, psutil.Process(child.process.pid).memory_info().rss)
            assert self.peak < MOST_RESIDENT_BYTES, f"the decoder holds {self.peak} bytes"


@contextmanager
def door() -> Iterator[Door]:
    """Open a door, and close it behind the last case."""
    made = Door()
    try:
        yield made
    finally:
        made.decoder.close()


def data_url(data: bytes, kind: str = "image/png") -> str:
    """Return bytes as a data: URL."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
