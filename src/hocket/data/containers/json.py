"""A JSON array, one row a line so that it can be compared and searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hocket.data.containers import containers
from hocket.data.containers._lines import Lines, lines_of


@containers.register
class JsonArray(Lines):
    """One file that holds ``[row, row, ...]``."""

    def finish(self, parts: Sequence[Path], out: Path, *, name: str, keys: Sequence[str]) -> None:
        """Join the parts."""
        with out.open("w", encoding="utf-8", newline="\n") as stream:
            before = "[\n"
            for line in lines_of(parts):
                stream.write(before + line.rstrip("\n"))
                before = ",\n"
            stream.write("\n]\n")
