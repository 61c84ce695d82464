"""Sources: one file per storage format, each a random-access sequence of conversations."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hocket._registry import Registry
from hocket.chat.conversation import Conversation
from hocket.chat.readers import Reader


class Source(Protocol):
    """A data set on disk.

    Args:
        path: the data file.
        reader: turns one of its rows into a conversation.
        root: folder that relative media paths start from.
    """

    __module__: str

    def __init__(self, path: Path, *, reader: Reader, root: Path) -> None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Conversation:
        """Return a row.

        Raises:
            DataError: the row cannot be understood.
        """
        ...


sources: Registry[type[Source]] = Registry("hocket.data.sources", noun="source")
