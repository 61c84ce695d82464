"""The rows of a benchmark's own files, and the media that they name.

A benchmark comes as its authors published it or as a data set of the Hugging Face hub; each form
is a `Layout`. A layout is read here, and written by `hocket.eval.twin` for tests.
Knows files and columns; must not know prompts or metrics.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias, cast

from hocket._errors import DataError
from hocket.chat.conversation import Medium
from hocket.data.sources import RowSource, sources
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video

Kind = Literal["image", "audio", "video"]
Value: TypeAlias = Any
"""JSON, bytes or a medium; whoever takes a field out of a row knows which."""
Row: TypeAlias = Mapping[str, Value]
"""A row with the task's names for its fields: ``id``, ``question``, ``answer`` and so on."""

MEDIA: Mapping[Kind, type[Image] | type[Audio] | type[Video]] = {
    "image": Image,
    "audio": Audio,
    "video": Video,
}
# A cell of VLMEvalKit's tables shorter than this is the index of the row that has the picture.
SHORTEST_BASE64 = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file of rows, or several; each row also has its ``file``, below the benchmark's folder.

    Attributes:
        path: below the folder of the benchmark; it may be a pattern.
        kind: ``json``, a storage format of ``data/sources``, or ``transcripts``: lines of an ``id``
            and a ``text``, as LibriSpeech and Kaldi have them.
        key: of JSON, the key under which the rows stand; empty for the file itself.
        id_key: of JSON whose rows are an object, the name that their keys get.
        value_key: of such JSON, the name of what stands under each key, where it is no object.
    """

    path: str
    kind: str = "json"
    key: str = ""
    id_key: str = ""
    value_key: str = ""

    def rows(self, folder: Path) -> Iterator[tuple[str, dict[str, Value]]]:
        """Yield the place of each row, for messages, and the row.

        Raises:
            DataError: the file is missing or damaged.
        """
        # A file that is missing is told of by whoever opens it.
        for file in sorted(folder.glob(self.path)) or [folder / self.path]:
            name = file.relative_to(folder).as_posix()
            for where, row in self._rows_of(file):
                yield where, {**row, "file": name}

    def _rows_of(self, file: Path) -> Iterator[tuple[str, dict[str, Value]]]:
        if self.kind == "json":
            yield from self._json_rows(file)
            return
        if self.kind == "transcripts":
            yield from _transcripts(file)
            return
        opened = sources.get(self.kind)(file, reader=_never_called)
        stored = cast(RowSource, opened)  # every source of that folder shows its rows
        for index in range(len(stored)):
            yield stored.where(index), dict(stored.row(index))

    def _json_rows(self, file: Path) -> Iterator[tuple[str, dict[str, Value]]]:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{file} cannot be read as JSON ({error}). Download it again."
            ) from error
        rows = found.get(self.key) if self.key and isinstance(found, dict) else found
        if isinstance(rows, dict) and self.id_key:
            rows = [
                {self.id_key: name, **({self.value_key: row} if self.value_key else row)}
                for name, row in rows.items()
            ]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            at = f"the key {self.key!r} of {file}" if self.key else str(file)
            raise DataError(
                f"{at} holds no list of rows. Check that it is the benchmark's own file."
            )
        for index, row in enumerate(rows):
            yield f"{file.name} row {index}", row


def _transcripts(file: Path) -> Iterator[tuple[str, dict[str, Value]]]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as text ({error}). Download it again.") from error
    for number, line in enumerate(lines, 1):
        name, _, text = line.strip().partition(" ")
        if name:
            yield f"{file.name} line {number}", {"id": name, "text": text}


def _never_called(row: object, *, root: Path, where: str) -> NoReturn:
    raise DataError(f"{where}: a row of a benchmark is no conversation. Use Table.rows.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Columns that stand in a second file.

    Attributes:
        table: the second file.
        columns: what is taken from there.
        on: column of the first file that says which row of the second belongs to it.
        to: that column of the second file; empty where it has the same name.
        optional: leave out rows that the second file does not have, such as unpublished answers.
    """

    table: Table
    columns: tuple[str, ...]
    on: str
    to: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather:
    """A list made of the rows of a second table, such as all captions of a video.

    Attributes:
        table: the second table.
        column: what is gathered, under its own name.
        on: column of both that says which rows belong together.
    """

    table: Table
    column: str
    on: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InFile:
    """A medium in a file of its own.

    Attributes:
        path: below the folder of the benchmark, with fields of the row: ``{image_id:012d}.jpg``.
        beside: the path starts from the folder of the row's own file instead.
        each: column that holds a list; there is a file for each entry, which is ``{entry}``.
    """

    path: str
    beside: bool = False
    each: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InColumn:
    """A medium in the row itself.

    Attributes:
        name: the column: bytes, ``{"bytes": ...}``, or several of them in a list.
        base64: it is text in base 64, as in VLMEvalKit's tables.
    """

    name: str
    base64: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One form in which a benchmark is published.

    Attributes:
        table: its rows.
        join: columns that stand in a second file.
        gather: a list of what stands in rows of a second table.
        fields: the task's name of a field -> the column; others keep their names.
        media: where the pictures, sounds and videos are.
    """

    table: Table
    join: Join | None = None
    gather: Gather | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    media: Mapping[Kind, InFile | InColumn] = field(default_factory=dict)

    def files(self) -> tuple[str, ...]:
        """Return the files of rows, below the folder of the benchmark."""
        return (self.table.path, *((self.join.table.path,) if self.join else ()))

    def present(self, folder: Path) -> bool:
        """Return whether all files of rows are there."""
        return all(any(folder.glob(path)) for path in self.files())

    def rows(self, folder: Path) -> Iterator[tuple[str, Row]]:
        """Yield the place of each row and the row, fields renamed and media referred to.

        Raises:
            DataError: a file or a medium is missing or damaged, or a row lacks a field.
        """
        others, gathered = self._joined(folder), self._gathered(folder)
        pictures: dict[str, str] = {}
        for where, row in self.table.rows(folder):
            if self.join:
                name = str(_needed(row, self.join.on, where))
                if name not in others and self.join.optional:
                    continue
                if name not in others:
                    raise DataError(
                        f"{where}: {self.join.table.path} has no row whose "
                        f"{self.join.to or self.join.on} is {name}. Download both files again."
                    )
                row = row | others[name]
            if self.gather:
                name = str(_needed(row, self.gather.on, where))
                row = row | {self.gather.column: gathered.get(name, [])}
            named = row | {
                ours: _needed(row, column, where) for ours, column in self.fields.items()
            }
            for kind, place in self.media.items():
                if isinstance(place, InColumn) and place.base64:
                    named[kind] = _from_base64(row, place.name, where, pictures)
                else:
                    named[kind] = _medium(kind, place, named, folder, where)
            yield where, named

    def _gathered(self, folder: Path) -> dict[str, list[Value]]:
        found: dict[str, list[Value]] = {}
        if self.gather:
            for where, row in self.gather.table.rows(folder):
                name = str(_needed(row, self.gather.on, where))
                found.setdefault(name, []).append(_needed(row, self.gather.column, where))
        return found

    def _joined(self, folder: Path) -> dict[str, dict[str, Value]]:
        if not self.join:
            return {}
        column = self.join.to or self.join.on
        found = self.join.table.rows(folder)
        return {
            str(_needed(row, column, where)): {
                name: _needed(row, name, where) for name in self.join.columns
            }
            for where, row in found
        }


def _needed(row: Mapping[str, Value], column: str, where: str) -> Value:
    if column not in row:
        raise DataError(
            f"{where} has no field {column!r}; it has {', '.join(map(str, row))}. "
            f"Check that this is the benchmark's own file."
        )
    return row[column]


def _medium(kind: Kind, place: InFile | InColumn, row: Row, folder: Path, where: str) -> Value:
    if isinstance(place, InFile):
        if place.beside:
            folder = (folder / row["file"]).parent
        if not place.each:
            return _filed(kind, place.path, row, folder, where)
        entries = _needed(row, place.each, where)
        return tuple(
            _filed(kind, place.path, {**row, "entry": entry}, folder, where) for entry in entries
        )
    value = _needed(row, place.name, where)
    make = functools.partial(_embedded, kind, where=where)
    return tuple(make(one) for one in value) if isinstance(value, list) else make(value)


def _filed(kind: Kind, template: str, row: Row, folder: Path, where: str) -> Medium:
    try:
        path = folder / template.format_map(row)
    except (KeyError, ValueError) as error:
        raise DataError(f"{where}: {template} cannot be filled in ({error}).") from error
    if not path.exists():
        raise DataError(f"{where}: no {kind} {path}. Download the media of the benchmark too.")
    if kind == "video" and path.is_dir():
        return Video.from_folder(path)
    return MEDIA[kind].from_path(path)


def _embedded(kind: Kind, value: Value, *, where: str) -> Medium:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise DataError(f"{where}: no bytes of the {kind}; found {type(data).__name__}.")
    return MEDIA[kind].from_bytes(data, name=f"{where}: {kind}")


def _from_base64(row: Row, column: str, where: str, seen: dict[str, str]) -> Medium:
    """Return the picture of a VLMEvalKit row, which may be that of an earlier row."""
    text = str(_needed(row, column, where))
    if len(text) < SHORTEST_BASE64:
        if text not in seen:
            raise DataError(f"{where}: its picture is that of row {text}, which is not before it.")
        text = seen[text]
    else:
        seen[str(row.get("index", where))] = text
    try:
        return Image.from_bytes(base64.b64decode(text, validate=True), name=f"{where}: {column}")
    except binascii.Error as error:
        raise DataError(f"{where}: {column!r} is not base 64 ({error}). Copy it again.") from error
