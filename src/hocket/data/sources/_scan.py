"""Finds the rows of a JSON array of any size, a window of the file at a time.

Every row is parsed once and thrown away, so what is wrong is named before training starts, as
reading the file whole would; memory holds one window, or the longest row.
"""

from __future__ import annotations

import codecs
import json
import re
from array import array

import numpy as np

from hocket._errors import DataError
from hocket.data.sources._files import DataFile
from hocket.data.sources._index import Index
from hocket.data.sources._text import BYTE_ORDER_MARK, line_and_column

WINDOW_BYTES = 2**20

_SPACE = re.compile(r"[ \t\n\r]*")
# The longest token that can end in the middle without being a text: -Infinity, \uD83D\uDE00.
_TOKEN = 16


def array_rows(file: DataFile, *, key: str) -> Index:
    """Return int64 (rows, 2): the first byte of each row and the one behind it.

    Args:
        file: holds an array of rows, or one object that has such an array.
        key: under which an object has it.

    Raises:
        DataError: the file is not JSON in UTF-8, or holds something else.
    """
    try:
        return _Scan(file).rows(key)
    except RecursionError as error:
        raise DataError(f"{file.path} is nested too deeply to be a data set.") from error


class _Scan:
    """One pass over a file of JSON.

    ``_text`` is the window and ``_at`` the place in it; ``_base`` is the byte of its first
    character, and ``_mark`` a later character whose byte is known.
    """

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._parse = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        count = len(BYTE_ORDER_MARK)
        marked = file.size >= count and file.read(0, count) == BYTE_ORDER_MARK
        self._next = self._base = count if marked else 0
        self._mark = (0, self._base)

    def rows(self, key: str) -> Index:
        """Return where the rows are."""
        first = self._peek()
        found: array[int] | None = None
        if first == "[":
            found = self._array()
        elif first == "{":
            found = self._object(key)
        else:
            self._value()
        if self._peek():
            raise self._error("Extra data", self._at, lines=first == "{")
        if found is None:
            kind = "an object" if first == "{" else "a single value"
            raise DataError(
                f"{self._file.path} holds {kind}; expected an array of rows. Put them in [ ]."
            )
        return np.frombuffer(found, dtype=np.int64).reshape(-1, 2)

    def _array(self) -> array[int]:
        found: array[int] = array("q")
        self._at += 1
        if self._peek() == "]":
            self._at += 1
            return found
        while True:
            self._peek()
            start = self._byte(self._at)
            self._value()
            found.append(start)
            found.append(self._byte(self._at))
            separator = self._peek()
            if separator not in (",", "]"):
                raise self._error("Expecting ',' delimiter", self._at)
            self._at += 1
            if separator == "]":
                return found

    def _object(self, key: str) -> array[int] | None:
        found: array[int] | None = None
        self._at += 1
        if self._peek() == "}":
            self._at += 1
            return found
        while True:
            if self._peek() != '"':
                raise self._error("Expecting property name enclosed in double quotes", self._at)
            name = self._value()
            if self._peek() != ":":
                raise self._error("Expecting ':' delimiter", self._at)
            self._at += 1
            if self._peek() == "[" and name == key:
                found = self._array()
            else:
                self._value()
            separator = self._peek()
            if separator not in (",", "}"):
                raise self._error("Expecting ',' delimiter", self._at)
            self._at += 1
            if separator == "}":
                return found

    def _peek(self) -> str:
        """Move to the next character that is no space and return it; nothing at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _value(self) -> object:
        """Parse one value and move behind it."""
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except json.JSONDecodeError as error:
                if not (self._may_be_cut(error) and self._fill()):
                    raise self._error(error.msg, error.pos) from error
                continue
            except ValueError as error:
                # Python reads no number of more digits than its own limit.
                raise self._error("A number of too many digits", self._at) from error
            # A number at the end of the window may go on behind it: "1" of "1e+6".
            if end > len(self._text) - 3 and self._fill():
                continue
            self._at = end
            return value

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether more of the file could mend an error; a text is blamed where it begins."""
        return error.msg.startswith("Unterminated") or error.pos >= len(self._text) - _TOKEN

    def _fill(self) -> bool:
        """Forget what is done and read on; at least as much as is left, for rows of any size."""
        if self._next >= self._file.size:
            return False
        start = self._byte(self._at)
        count = min(max(WINDOW_BYTES, self._next - start), self._file.size - self._next)
        chunk = self._file.read(self._next, count)
        held = len(self._decoder.getstate()[0])
        last = self._next + count == self._file.size
        try:
            more = self._decoder.decode(chunk, final=last)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self._file.path} is not text (byte {self._next - held + error.start}). "
                f"Give a JSON file in UTF-8."
            ) from error
        self._text = self._text[self._at :] + more
        self._at, self._base, self._mark = 0, start, (0, start)
        self._next += count
        return True

    def _byte(self, at: int) -> int:
        """Return the byte of a character of the window."""
        if self._text.isascii():
            return self._base + at
        known, byte = self._mark if self._mark[0] <= at else (0, self._base)
        self._mark = (at, byte + len(self._text[known:at].encode("utf-8")))
        return self._mark[1]

    def _error(self, message: str, at: int, *, lines: bool = False) -> DataError:
        line, column = line_and_column(self._file, self._byte(at))
        advice = "With one object a line, set source: jsonl." if lines else "Correct the file."
        return DataError(
            f"{self._file.path} is not valid JSON: {message} at line {line}, column {column}. "
            f"{advice}"
        )
