"""What the text formats share: rows cut out of a file by offset, and the line of an error.

Knows bytes and JSON; must not know how a format separates its rows.
"""

from __future__ import annotations

import json

from hocket._errors import DataError
from hocket.chat.conversation import Json
from hocket.data.sources._files import DataFile

# Every worker may hold a few rows at once; media of that size belong in files.
MAX_ROW_BYTES = 64 * 2**20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_CHUNK_BYTES = 2**20
_CONTINUED = bytes(range(0x80, 0xC0))


def row_bytes(file: DataFile, start: int, end: int, where: str) -> bytes:
    """Return the bytes of a row, those from ``start`` up to ``end``.

    Raises:
        DataError: there are more than `MAX_ROW_BYTES`, or the file has changed.
    """
    if end - start > MAX_ROW_BYTES:
        raise DataError(
            f"{where} has {end - start} bytes, but at most {MAX_ROW_BYTES} are read. "
            f"Keep its media in files and write their paths."
        )
    return file.read(start, end - start)


def row_text(data: bytes, where: str) -> str:
    """Return a row as text.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} is not text (byte {error.start} of the row). Write the file in UTF-8."
        ) from error


def json_row(data: bytes, where: str) -> Json:
    """Return a row of JSON.

    Raises:
        DataError: it is not valid JSON in UTF-8.
    """
    try:
        found: Json = json.loads(row_text(data, where))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where} is not valid JSON: {error.msg} at column {error.colno}. Correct the row."
        ) from error
    except RecursionError as error:
        raise DataError(f"{where} is nested too deeply to be a sample. Correct it.") from error
    except ValueError as error:
        # Python reads no number of more digits than its own limit.
        raise DataError(f"{where} holds a number of too many digits. Correct the row.") from error
    return found


def line_and_column(file: DataFile, at: int) -> tuple[int, int]:
    """Return the line and the column, both from 1, of the character at a byte offset."""
    line, column = 1, 1
    for start in range(0, at, _CHUNK_BYTES):
        chunk = file.read(start, min(_CHUNK_BYTES, at - start))
        breaks = chunk.count(b"\n")
        if breaks:
            line, column = line + breaks, 1
            chunk = chunk[chunk.rindex(b"\n") + 1 :]
        column += len(chunk.translate(None, delete=_CONTINUED))
    return line, column
