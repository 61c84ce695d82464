"""The list of rows that training leaves out: JSON lines, one file for several data sets.

A line is ``{"dataset": ..., "row": ..., "id": ..., "reason": ...}``; ``dataset`` is the name of a
data set of the config or the path of its file, and further keys are allowed. ``hocket data check``
writes such a file, and so does a run that leaves samples out. Knows names and rows, no media.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hocket._errors import DataError, MachineError


class Quarantined(NamedTuple):
    """A row to leave out.

    Attributes:
        dataset: name of its data set, or the path of its file.
        row: its number in the file, from 0.
        id: its own id, to see that the file is the same; empty when the row cannot be read.
        reason: why.
    """

    dataset: str
    row: int
    id: str
    reason: str


def read_quarantine(file: Path, *, name: str, path: str) -> dict[int, Quarantined]:
    """Return the rows of one data set that a quarantine leaves out, by number.

    Args:
        file: the quarantine.
        name: name of the data set; ``NAME@SUBSET`` is found under ``NAME`` too.
        path: its data file, as the config names it.

    Raises:
        DataError: the file is missing or holds something else.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(
            f"no quarantine {file}. Correct data.quarantine, or write the file with: "
            f"hocket data check --quarantine {file}"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as UTF-8 text. Check data.quarantine.") from error
    mine = {name, name.partition("@")[0], path, str(Path(path).absolute())}
    found = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            entry = _entry(line, f"{file} line {number}")
            if entry.dataset in mine:
                found[entry.row] = entry
    return found


def write_quarantine(file: Path, entries: Iterable[Quarantined]) -> int:
    """Write a quarantine, replacing the file; return how many rows it holds.

    Raises:
        MachineError: the file cannot be written.
    """
    lines = [json.dumps(entry._asdict()) + "\n" for entry in entries]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise MachineError(
            f"{file} cannot be written ({error.strerror}). Choose another file."
        ) from error
    return len(lines)


def _entry(line: str, where: str) -> Quarantined:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON. Expected one object a line.") from error
    found = found if isinstance(found, dict) else {}
    texts = [found.get("dataset"), found.get("id", ""), found.get("reason", "")]
    row = found.get("row")
    names = [one for one in texts if isinstance(one, str)]
    if len(names) < len(texts) or type(row) is not int:
        raise DataError(
            f"{where} holds something else than an object with 'dataset' and 'id' (text), 'row' (a "
            f"whole number) and 'reason'. Write the file with: hocket data check --quarantine FILE"
        )
    dataset, name, why = names
    return Quarantined(dataset, row, name, why)
