"""A data set with one row of every fault, for tests of the audit and of its verb."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.toy import write_rows

# What is wrong with each row; rows 6, 9, 10 and 11 are whole.
FAULTS = {
    0: {"missing"},
    1: {"tags"},
    2: {"tags"},
    3: {"order"},
    4: {"medium"},
    5: {"empty"},
    7: {"same-id"},
    12: {"same-row"},
    13: {"same-medium"},
    14: {"row"},
    15: {"tags"},
}


def turns(*texts: str) -> list[dict[str, str]]:
    """Return turns of human and gpt."""
    return [
        {"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)
    ]


def write_broken(folder: Path) -> Path:
    """Write the data set of `FAULTS`."""
    file = write_rows(folder)
    rows: list[dict[str, Any]] = json.loads(file.read_text())
    (folder / "0.png").unlink()
    half = (folder / "4.png").read_bytes()
    (folder / "4.png").write_bytes(half[: len(half) // 2])
    rows[1]["conversations"] = turns("<audio><audio>\nTwo?", "No.")
    rows[2]["conversations"] = turns("None <video> <video>", "No.")
    rows[3]["conversations"] += turns("And?")
    rows[5]["conversations"] += turns("More?", "  ")
    rows[7]["id"] = "row-6"
    rows.append(rows[11] | {"id": "copy"})
    (folder / "copy.png").write_bytes((folder / "8.png").read_bytes())
    rows.append({"id": "c2", "image": "copy.png", "conversations": turns("<image>\nOh?", "Yes.")})
    rows.append({"id": "odd"})
    pair = ["8.png", "8.png"]
    rows.append({"id": "two", "image": pair, "conversations": turns("<image>\nBoth?", "Yes.")})
    file.write_text(json.dumps(rows))
    return file
