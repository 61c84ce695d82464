"""The one shape of a conversation: who said what, in text, pictures, sound and video.

Readers produce it from rows of any format; the processor turns it into tokens. Nothing here
knows a tokenizer, a model or torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]
Medium = Image | Audio | Video


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text inside a message."""

    text: str


Part = Text | Image | Audio | Video


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: a role and its parts in reading order.

    Attributes:
        role: who speaks.
        parts: text and media in the order in which they are read.
        train: whether the text is learned; None means the default, assistant only.
    """

    role: Role
    parts: tuple[Part, ...]
    train: bool | None = None

    @property
    def text(self) -> str:
        """The text parts joined, without media."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def media(self) -> tuple[Medium, ...]:
        """The media of this turn in reading order."""
        return tuple(part for part in self.parts if not isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Conversation:
    """A whole dialogue.

    Attributes:
        id: the sample's own id, used for seeds and logs.
        messages: the turns in order.
        tools: JSON schemas of tools the assistant may call.
        meta: whatever else the row carried, such as ``task`` or ``answers``.
        source: data set, file and row, for error messages.
    """

    id: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Json], ...] = ()
    meta: Mapping[str, Json] = field(default_factory=dict)
    source: str = "conversation"

    def media(self) -> Iterator[Medium]:
        """Yield every medium in reading order."""
        for message in self.messages:
            for part in message.parts:
                if not isinstance(part, Text):
                    yield part
