"""Readers: one file per row format, each a function from a JSON row to a `Conversation`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from hocket._registry import Registry
from hocket.chat.conversation import Conversation, Json


class Reader(Protocol):
    """Turns one row of a data file into a conversation.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages.
    """

    __module__: str

    def __call__(self, row: Mapping[str, Json], *, root: Path, where: str) -> Conversation:
        """Return the row as a conversation."""
        ...


readers: Registry[Reader] = Registry("hocket.chat.readers", noun="reader")
