"""Parts of JSON, one row a line, which all text formats are made of.

Knows JSON values; must not know what the joined file looks like.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from hocket._errors import DataError
from hocket.data.containers import Numbered


class Lines(ABC):
    """A text format; a file of it is joined from parts of JSON lines."""

    is_folder = False
    listed = False
    packs = False
    must_pack = False
    ending = ".jsonl"

    def stored(self, numbered: Numbered) -> Mapping[str, object]:
        """Return the row as JSON gives it back.

        Raises:
            DataError: a value that JSON does not have.
        """
        return cast(Mapping[str, object], json.loads(json_text(numbered)))

    def write(self, rows: Iterable[Numbered], file: Path) -> None:
        """Write a part, one row a line."""
        with file.open("w", encoding="utf-8") as stream:
            for numbered in rows:
                stream.write(json_text(numbered) + "\n")

    @abstractmethod
    def finish(self, parts: Sequence[Path], out: Path, *, name: str, keys: Sequence[str]) -> None:
        """Join the parts."""


def json_text(numbered: Numbered) -> str:
    """Return a row as one line of JSON.

    Raises:
        DataError: a value that JSON does not have, with its key.
    """
    try:
        return json.dumps(numbered.row, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        pass
    for key, value in numbered.row.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{numbered.at}: {key!r} cannot be written as JSON ({error}). "
                f"Remove the key or choose another container."
            ) from error
    raise DataError(f"{numbered.at}: its keys cannot be written as JSON. Use text for keys.")


def lines_of(parts: Sequence[Path]) -> Iterator[str]:
    """Yield the rows of all parts as lines of JSON, with their line break."""
    for part in parts:
        with part.open(encoding="utf-8", newline="\n") as stream:
            yield from stream
