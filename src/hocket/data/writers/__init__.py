"""Writers: one file per row format, each from a conversation to the row that its reader reads.

The mirror of `hocket.chat.readers`, under the same names. A writer refuses what its format has no
place for and names the field; whoever calls it reads the row again and compares (`data/same.py`),
so that nothing is lost unseen.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from hocket._registry import Registry
from hocket.chat.conversation import Conversation, Medium

Reference = object
"""What stands in a row for a medium: a path, a list of paths, ``{"bytes", "path"}``, or, for a
video that is kept as pictures, ``{"frames", "fps", "times"}`` with a list of the former."""


class Refer(Protocol):
    """Says what a row calls a medium, having put its file where the row will find it."""

    @property
    def listed(self) -> bool:
        """Whether media always stand in lists: ``images``, ``audios`` and ``videos``."""
        ...

    @property
    def packed(self) -> bool:
        """Whether the row holds the bytes of its media."""
        ...

    def __call__(self, medium: Medium, at: str) -> Reference:
        """Return the reference; ``at`` names the field for messages.

        Raises:
            DataError: the medium cannot be referred to.
        """
        ...


class Written(NamedTuple):
    """A row and what it says.

    Attributes:
        row: keys and values, ready for a file.
        reads: what reading the row gives, but for where the media are: the conversation itself,
            or with what the format adds to every row (VITA's state tokens).
    """

    row: dict[str, object]
    reads: Conversation


class Writer(Protocol):
    """Turns a conversation into a row.

    Args:
        conversation: what a reader returned.
        refer: puts the media in their places and says what the row calls them.
    """

    __module__: str

    def __call__(self, conversation: Conversation, refer: Refer) -> Written:
        """Return the row.

        Raises:
            DataError: the format has no place for a part of the conversation.
        """
        ...


writers: Registry[Writer] = Registry("hocket.data.writers", noun="writer")
