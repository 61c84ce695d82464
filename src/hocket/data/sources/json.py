"""A JSON array of rows, or one object that holds such an array under ``conversations``."""

from __future__ import annotations

import json
from pathlib import Path

from hocket._errors import DataError, did_you_mean
from hocket.chat.conversation import Conversation, Json
from hocket.chat.readers import Reader
from hocket.data.sources import sources


@sources.register
class JsonArray:
    """All rows of one JSON file, read once.

    Args:
        path: the data file.
        reader: turns one of its rows into a conversation.
        root: folder that relative media paths start from.

    Raises:
        DataError: the file is missing, empty, not JSON or not an array.
    """

    def __init__(self, path: Path, *, reader: Reader, root: Path) -> None:
        self.path = path
        self._reader = reader
        self._root = root
        self._rows = _rows(path)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Conversation:
        """Return row `index`.

        Raises:
            DataError: the row cannot be understood.
        """
        where = f"{self.path.name} row {index}"
        return self._reader(self._rows[index], root=self._root, where=where)


def _rows(path: Path) -> list[dict[str, Json]]:
    if not path.exists():
        hint = did_you_mean(path.name, (file.name for file in path.parent.glob("*.json")))
        raise DataError(f"no data file {path}.{hint} Check the path.")
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected a JSON file. Name the file itself.")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes); expected an array of rows. Write it again.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not text (byte {error.start}). Give a JSON file in UTF-8."
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}. "
            "Correct the file."
        ) from error
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply to be a data set.") from error
    if isinstance(document, dict) and isinstance(document.get("conversations"), list):
        document = document["conversations"]
    if not isinstance(document, list):
        found = "an object" if isinstance(document, dict) else "a single value"
        raise DataError(f"{path} holds {found}; expected an array of rows. Put them in [ ].")
    if not document:
        raise DataError(f"{path} holds no rows. Add rows or leave the data set out.")
    return document
