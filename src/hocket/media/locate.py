"""From the reference in a row to a file on this machine, safely.

Knows paths only; must not know what the file holds and never touches the network.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from hocket._errors import MediaError

# A folder of a data set can hold a million files: a hint is not worth listing them all.
_MAX_LISTED = 20_000
# What the name of a whole path may take in a message.
_MAX_SHOWN = 200
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|(?:data|file|https?):)", re.IGNORECASE)


def locate(
    reference: str,
    *,
    root: Path,
    where: str,
    allowed: tuple[Path, ...] = (),
    confined: bool = False,
    folders: bool = False,
) -> Path:
    """Return the existing file, or folder where these may be, that a reference names.

    Args:
        reference: a path as written in a row; a relative one starts at ``root``.
        root: the folder of the data set.
        where: the data set and row, for messages.
        allowed: further folders that may be named. When there are any, nothing outside
            ``root`` and them may be; when there are none, absolute paths are free.
        confined: refuse whatever leaves ``root`` and ``allowed`` once links are followed, the
            files of a folder included.
        folders: a folder will do too: one of the frames of a video.

    Raises:
        MediaError: a URL, a path outside the folders, or no such file.
    """
    if not reference or "\0" in reference:
        raise MediaError(f"{where}: {reference!r} is not a path. Write the path of a file.")
    if _URL.match(reference):
        shown = reference if len(reference) <= 60 else reference[:57] + "..."
        raise MediaError(
            f"{where}: {shown!r} is a URL and nothing is downloaded or decoded from one. "
            f"Save the file and write its path."
        )
    path = root / reference
    limits = (root, *allowed)
    if confined:
        path = _resolved(path, where)
    if not _is_allowed(path, limits, where, confined=confined, free=not allowed):
        raise _outside(reference, limits, where)
    try:
        if path.is_file():
            return path
        if path.is_dir():
            if not folders:
                raise MediaError(f"{where}: {path} is a folder, not a file. Name the files in it.")
            if confined:
                _check_links(path, limits, where)
            return path
    except OSError as error:
        raise MediaError(
            f"{where}: {_short(path)} cannot be read ({error.strerror}). Check it and its rights."
        ) from error
    # A request to a server comes from someone who chooses no folder.
    rooted = not confined and not Path(reference).is_absolute()
    raise MediaError(f"{where}: no file {path}.{_hint(path, rooted=rooted)}")


def _is_allowed(
    path: Path, limits: Sequence[Path], where: str, *, confined: bool, free: bool
) -> bool:
    if confined:
        return _is_below(path, limits, where)
    if free:
        return True
    plain = _plain(path)
    return any(plain.is_relative_to(_plain(folder)) for folder in limits)


def _check_links(folder: Path, limits: Sequence[Path], where: str) -> None:
    """Refuse a folder that holds a link which leads out of the allowed folders."""
    for entry in folder.iterdir():
        if entry.is_symlink() and not _is_below(_resolved(entry, where), limits, where):
            raise _outside(str(entry), limits, where)


def _is_below(path: Path, folders: Sequence[Path], where: str) -> bool:
    return any(path.is_relative_to(_resolved(folder, where)) for folder in folders)


def _outside(reference: str, folders: Sequence[Path], where: str) -> MediaError:
    return MediaError(
        f"{where}: {reference!r} is outside the allowed folders "
        f"({', '.join(str(folder) for folder in folders)}). "
        f"Move the file there or allow its folder."
    )


def _resolved(path: Path, where: str) -> Path:
    try:
        return path.resolve()
    # RuntimeError: links that run in a circle
    except (OSError, RuntimeError) as error:
        raise MediaError(f"{where}: {path} cannot be followed. Check its links.") from error


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _short(path: Path) -> str:
    shown = str(path)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[: _MAX_SHOWN - 3]}..."


def _hint(path: Path, *, rooted: bool) -> str:
    if "\\" in str(path) and os.sep == "/":
        return " Windows writes paths with backslashes: write '/', from the root of the data set."
    folder = path.parent
    root = "Check the path"
    if rooted:
        root += ", or name the folder that it starts from: --media-root, media_root in a config"
    try:
        names = [entry.name for entry in islice(folder.iterdir(), _MAX_LISTED)]
    except OSError:
        return f" The folder {folder} cannot be listed either. {root}."
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    if near:
        return f" The nearest name in that folder is {near[0]!r}."
    return f" That folder has {len(names)} entries and none is similar. {root}."
