"""Sources: one file per storage format, each a random-access sequence of conversations.

A source reads a row, a mapping of JSON values, and hands it to a reader. Where a format holds media
itself (Parquet, tar shards, Hugging Face data sets), the row has ``{"bytes": ..., "path": name}``,
or plain ``bytes``, at the place of a path; readers make a medium in memory of it.

Sources are opened in the main process and used in forked or spawned workers, so none keeps an open
file of its own (see `_files.py`), and each can be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from hocket._registry import Registry
from hocket.chat.conversation import Conversation, Json
from hocket.chat.readers import Reader

Row = Mapping[str, Json]


class Source(Protocol):
    """A data set on disk.

    Args:
        path: the data file; also a glob, or several of them separated by commas.
        reader: turns one of its rows into a conversation.
        root: folder that relative media paths start from; None means the folder of each file.
    """

    __module__: str

    def __init__(self, path: Path, *, reader: Reader, root: Path | None = None) -> None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Conversation:
        """Return a row.

        Raises:
            DataError: the row cannot be understood.
        """
        ...


class RowSource(Source, Protocol):
    """A source that also shows its rows as they are stored; every one in this folder does."""

    def row(self, index: int) -> Row:
        """Return what is stored, before a reader sees it.

        Raises:
            DataError: the row is damaged.
        """
        ...

    def where(self, index: int) -> str:
        """Return the file and number of a row, as messages call it."""
        ...


sources: Registry[type[Source]] = Registry("hocket.data.sources", noun="source")
