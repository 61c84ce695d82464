"""Text tables: a header, and one record a row; lists and objects stand in cells as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from hocket.data.containers import Numbered
from hocket.data.containers._lines import Lines, lines_of
from hocket.data.sources._table import cell_value


class Table(Lines):
    """A table; a cell is text, so numbers, empty text and null do not come back."""

    separator: ClassVar[str]

    def stored(self, numbered: Numbered) -> Mapping[str, object]:
        """Return the row as its cells give it back.

        Raises:
            DataError: a value that JSON does not have.
        """
        cells = {key: _cell(value) for key, value in super().stored(numbered).items()}
        return {key: cell_value(cell) for key, cell in cells.items() if cell}

    def finish(self, parts: Sequence[Path], out: Path, *, name: str, keys: Sequence[str]) -> None:
        """Join the parts under a header of all keys."""
        with out.open("w", encoding="utf-8", newline="") as stream:
            records = csv.writer(
                stream, delimiter=self.separator, quoting=csv.QUOTE_ALL, lineterminator="\n"
            )
            records.writerow(keys)
            for line in lines_of(parts):
                row = json.loads(line)
                records.writerow([_cell(row[key]) if key in row else "" for key in keys])


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
