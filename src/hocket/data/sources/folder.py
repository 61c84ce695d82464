"""A folder of pictures, sounds or videos, with captions beside them or classes as sub-folders.

``a.jpg`` and ``a.txt`` are a picture and its caption, ``b.wav`` and ``b.txt`` a sound and what is
said in it. Without any ``.txt``, the first sub-folder a file lies in is its class, and so its
caption. Files of one name and several endings are one sample.
"""

from __future__ import annotations

import os
from pathlib import Path

from hocket._errors import DataError
from hocket.chat.conversation import Json
from hocket.data.sources import Row, sources
from hocket.data.sources._endings import medium_kind
from hocket.data.sources._files import DataFile
from hocket.data.sources._paths import check_file, data_files, natural
from hocket.data.sources._rows import FileRows
from hocket.data.sources._text import row_bytes, row_text


@sources.register
class MediaFolder(FileRows):
    """The media of folders: rows of ``id``, a medium, ``caption`` and, of classes, ``label``.

    The id is the path below the folder without its ending. Rows are in the order of the paths,
    with 2 before 10. Files that are neither media nor ``.txt``, and hidden ones, are left out.

    Args:
        path: the folder, a glob of folders, or several of them separated by commas.
        reader: turns one of its rows into a conversation, such as ``caption``.
        root: not used: the paths of the rows start from their folder.

    Raises:
        DataError: no folder, no media in it, or neither captions nor classes.
    """

    def find(self, path: Path) -> list[Path]:
        """Return the folders.

        Raises:
            DataError: one is missing, or is a file.
        """
        found = data_files(path, folders=True)
        for folder in found:
            if not folder.is_dir():
                raise DataError(f"{folder} is a file; expected a folder of media. Name its folder.")
        return found

    def root_of(self, file: Path, root: Path | None) -> Path:
        """Return the folder itself."""
        return file

    def open(self, file: Path, name: str) -> _Media:
        """Return the media of one folder."""
        return _Media(file, name)


class _Media:
    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        media, captions = _listed(folder)
        if not media:
            raise DataError(
                f"{folder} holds no pictures, sounds or videos. Check the folder, and the endings "
                f"of its files."
            )
        self._captions = bool(captions)
        self._stems = sorted(media, key=lambda stem: (natural(stem), stem))
        self._endings = [tuple(sorted(media[stem])) for stem in self._stems]
        loose = [stem for stem in self._stems if "/" not in stem]
        if not captions and loose:
            raise DataError(
                f"{folder}: nothing says what is learned of its files, such as {loose[0]!r}: no "
                "caption lies beside them, and no folder names their class.\n"
                "Write a caption beside each "
                f"({loose[0]}.txt), move them into a folder for each class, or name a data file "
                "(JSON, CSV ...) instead."
            )

    def __len__(self) -> int:
        return len(self._stems)

    def place(self, index: int) -> str:
        return f"row {index} ({self._stems[index]})"

    def row(self, index: int) -> Row:
        stem = self._stems[index]
        row: dict[str, Json] = {"id": stem}
        found: dict[str, list[Json]] = {}
        for ending in self._endings[index]:
            kind = medium_kind(ending)
            if kind:
                found.setdefault(kind, []).append(f"{stem}.{ending}")
        for kind, paths in found.items():
            row[kind] = paths if len(paths) > 1 else paths[0]
        if self._captions:
            row["caption"] = self._caption(stem, f"{self._name} {self.place(index)}")
        else:
            row["label"] = row["caption"] = stem.split("/")[0]
        return row

    def _caption(self, stem: str, where: str) -> str:
        path = self._folder / f"{stem}.txt"
        if not path.is_file():
            raise DataError(
                f"{where} has no caption, expected {path.name} beside it as other files have. "
                f"Write one or move the file away."
            )
        check_file(path)
        file = DataFile.of(path)
        return row_text(row_bytes(file, 0, file.size, where), where).strip()


def _listed(folder: Path) -> tuple[dict[str, list[str]], int]:
    """Return the endings of the media by their path without it, and the number of captions."""
    media: dict[str, list[str]] = {}
    captions = 0
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(parent).relative_to(folder).as_posix()
        for name in names:
            stem, dot, ending = name.rpartition(".")
            if not stem or not dot or name.startswith("."):
                continue
            if medium_kind(ending):
                whole = stem if below == "." else f"{below}/{stem}"
                media.setdefault(whole, []).append(ending)
            captions += ending == "txt"
    return media, captions
