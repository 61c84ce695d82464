"""From what a config calls a data set to the files it is made of.

A name may be one file, a glob, a pattern with braces, or several of these separated by commas.
Knows paths only; must not know what the files hold.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from hocket._errors import DataError, did_you_mean

# A pattern such as {000000..999999} names files; more than that is a slip of the pen.
MOST_FILES = 1_000_000

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_DIGITS = re.compile(r"([0-9]+)")
_MAX_LISTED = 20_000


def data_files(path: Path, *, folders: bool = False) -> list[Path]:
    """Return the files that a path names, in order.

    ``a.json``, ``shards/*.tar`` (sorted so that 2 comes before 10), ``{000..003}.tar``,
    ``{a,b}.json`` and ``a.json,b.json``. A file that has such characters in its own name is found
    first.

    Args:
        path: what the config says.
        folders: a folder will do too.

    Raises:
        DataError: a file that is not there, empty or a folder, or a pattern that matches none.
    """
    names = [str(path)] if path.exists() else _split(str(path))
    found: list[Path] = []
    for name in names:
        for each in [name] if Path(name).exists() else _expand(name):
            found += _matching(each, folders=folders)
    for file in found:
        check_file(file, folders=folders)
    return found


def check_file(file: Path, *, folders: bool = False) -> None:
    """Check that a data file exists and holds something.

    Raises:
        DataError: it is missing, a folder, or empty.
    """
    if not file.exists():
        near = (entry.name for entry in islice(file.parent.glob(f"*{file.suffix}"), _MAX_LISTED))
        hint = did_you_mean(file.name, near)
        raise DataError(f"no data file {file}.{hint} Check the path.")
    if file.is_dir():
        if folders:
            return
        raise DataError(f"{file} is a folder; expected a file. Name the file itself.")
    if not file.stat().st_size:
        raise DataError(f"{file} is empty (0 bytes); expected rows. Write it again.")


def natural(path: str) -> list[list[tuple[str, int]]]:
    """Return a sort key under which ``shard-2`` comes before ``shard-10``, folder by folder."""
    keys = []
    for name in path.split("/"):
        parts = _DIGITS.split(name)
        keys.append(list(zip(parts[::2], [*map(int, parts[1::2]), -1], strict=True)))
    return keys


def names_below(files: Iterable[Path]) -> list[str]:
    """Return what messages call each file: its name, with folders where names are not unique."""
    files = list(files)
    names = [file.name for file in files]
    return names if len(set(names)) == len(names) else [str(file) for file in files]


def _split(text: str) -> list[str]:
    """Split at the commas outside braces."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def _expand(text: str) -> list[str]:
    """Expand ``{000..003}`` and ``{a,b}``, the leftmost slowest."""
    found = _BRACES.search(text)
    if not found:
        return [text]
    inside = found[1]
    span = _RANGE.fullmatch(inside)
    if span:
        first, last = int(span[1]), int(span[2])
        width = len(span[1]) if span[1].startswith("0") else 0
        if not 0 <= last - first < MOST_FILES:
            raise DataError(
                f"{text}: {{{inside}}} names {max(last - first + 1, 0)} files, expected 1 to "
                f"{MOST_FILES}. Write the smaller number first."
            )
        words = [str(number).zfill(width) for number in range(first, last + 1)]
    elif "," in inside:
        words = inside.split(",")
    else:
        return [text[: found.end()] + rest for rest in _expand(text[found.end() :])]
    rests = _expand(text[found.end() :])
    return [text[: found.start()] + word + rest for word in words for rest in rests]


def _matching(name: str, *, folders: bool) -> list[Path]:
    if Path(name).exists() or not glob.has_magic(name):
        return [Path(name)]
    hits = list(map(Path, glob.glob(name, recursive=True)))  # noqa: PTH207 # Path.glob takes no absolute pattern
    hits = [hit for hit in hits if folders or hit.is_file()]
    if not hits:
        raise DataError(f"no data file matches {name}. Check the folder and the pattern.")
    return sorted(hits, key=lambda hit: (natural(hit.as_posix()), str(hit)))
