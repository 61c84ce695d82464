"""Where the rows of a large file are: found once, kept in the cache folder, mapped into memory.

An index is an int64 array (rows, columns) that the caller knows how to make and to read. It is
found again by the file's path, size, time of change and a hash of its two ends, so an index of a
file that has changed is never used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hocket._env import cache_dir
from hocket._log import warn
from hocket.data.sources._files import DataFile

Index = npt.NDArray[np.int64]

# Finding the rows of a file this small takes less time than explaining a stale index would.
SMALL_FILE_BYTES = 4 * 2**20
# Change it when an index means something else than before.
_VERSION = 1
_END_BYTES = 64 * 1024


def row_index(file: DataFile, kind: str, columns: int, build: Callable[[], Index]) -> Index:
    """Return the index of a file, from the cache if it is there.

    Args:
        file: the data file.
        kind: what the index means, such as ``json``.
        columns: numbers it has for each row.
        build: finds the rows; called at most once.

    Returns:
        int64 (rows, columns), not to be written to.
    """
    if file.size < SMALL_FILE_BYTES:
        return build()
    kept = _place(file, kind)
    found = _load(kept, columns)
    if found is None:
        found = build()
        found = _load(kept, columns) if _save(found, kept) else found
    return build() if found is None else found


def index_file(file: DataFile, kind: str) -> Path:
    """Return where the index of a file is kept, whether or not it is there yet."""
    return _place(file, kind)


def _place(file: DataFile, kind: str) -> Path:
    path = str(file.path.resolve())
    count = min(_END_BYTES, file.size)
    ends = file.read(0, count) + file.read(file.size - count, count)
    words = f"{_VERSION} {kind} {path} {file.size} {file.changed}".encode(
        "utf-8", "surrogateescape"
    )
    stamp = hashlib.blake2b(words + b"\0" + ends, digest_size=12).hexdigest()
    return cache_dir() / "index" / f"{_path_stamp(path, kind)}-{stamp}.npy"


def _path_stamp(path: str, kind: str) -> str:
    name = f"{kind} {path}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(name, digest_size=8).hexdigest()


def _load(kept: Path, columns: int) -> Index | None:
    """Return a kept index, or None when it is missing or damaged."""
    try:
        found = np.load(kept, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if found.dtype != np.int64 or found.ndim != 2 or found.shape[1] != columns:
        return None
    return np.asarray(found)


def _save(index: Index, kept: Path) -> bool:
    """Write an index under its name all at once; other processes may do the same."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=kept.parent, suffix=".tmp")
        try:
            with os.fdopen(number, "wb") as file:
                np.save(file, index, allow_pickle=False)
            Path(name).replace(kept)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        warn(f"the index of a data file cannot be kept in {kept.parent} ({error.strerror}).")
        return False
    path_stamp = kept.name.partition("-")[0]
    for old in kept.parent.glob(f"{path_stamp}-*.npy"):
        if old != kept:
            with contextlib.suppress(OSError):
                old.unlink()
    return True
