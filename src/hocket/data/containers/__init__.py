"""Containers: one file per storage format that can be written, the mirror of `data/sources`.

Rows are written in parts, each a file that appears whole or not at all; `finish` makes of the parts
what the source of the same name opens. Knows rows; must not know conversations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from hocket._registry import Registry


class Numbered(NamedTuple):
    """A row to be written.

    Attributes:
        number: its number in the data set it comes from, which names files of its own.
        at: data set, file and row, for messages.
        row: keys and values; media may stand in it as ``{"bytes", "path"}``.
    """

    number: int
    at: str
    row: Mapping[str, object]


class Container(Protocol):
    """A storage format.

    Attributes:
        is_folder: what is written is a folder of shards, which are the parts themselves.
        listed: all rows need one shape, so media always stand in lists.
        packs: a row may hold the bytes of its media.
        must_pack: it always does.
        ending: ending of a part, such as ``.jsonl``.
    """

    __module__: str
    is_folder: bool
    listed: bool
    packs: bool
    must_pack: bool
    ending: str

    def stored(self, numbered: Numbered) -> Mapping[str, object]:
        """Return the row as the source will show it; whoever calls compares.

        Raises:
            DataError: the format cannot hold a value at all.
        """
        ...

    def write(self, rows: Iterable[Numbered], file: Path) -> None:
        """Write a part.

        Raises:
            DataError: the rows do not fit together.
        """
        ...

    def finish(self, parts: Sequence[Path], out: Path, *, name: str, keys: Sequence[str]) -> None:
        """Make of the parts what is opened.

        Args:
            parts: in order; there is at least one.
            out: the file to write, or the folder that holds the parts.
            name: what the data set is called in the end.
            keys: every key of the rows, in order of first use.
        """
        ...


containers: Registry[type[Container]] = Registry("hocket.data.containers", noun="container")
