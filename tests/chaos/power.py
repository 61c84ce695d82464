"""A cut of the power, played: what was not flushed to the disk when the process died may be lost.

`watch_flushes` runs in the trainer: each `os.fsync` of a file keeps a copy of its bytes, each one
of a folder a list of its names. `cut_power` then makes the folder what a disk might hold: flushed
bytes and names are there; the others come, go or are cut by a throw of dice.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path


def watch_flushes(root: Path, kept: Path) -> None:
    """Record every flush below a folder from now on, in this process.

    Args:
        root: the folder.
        kept: where records go, on the same file system.
    """
    fsync: Callable[[int], None] = os.fsync
    kept.mkdir(parents=True, exist_ok=True)

    def flush(handle: int) -> None:
        fsync(handle)
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if path == root or root in path.parents:
            _record(path, kept)

    os.fsync = flush  # type: ignore[assignment]  # takes a file as well, which nobody gives here


def _record(path: Path, kept: Path) -> None:
    number = path.stat().st_ino
    if path.is_dir():
        names = {name.name: name.stat().st_ino for name in path.iterdir()}
        _put(kept / f"{number}.names", json.dumps(names).encode())
    else:
        _put(kept / f"{number}.bytes", path.read_bytes())
    # While a name is left for it no other file gets its number.
    if not path.is_dir() and not (kept / f"{number}.held").exists():
        os.link(path, kept / f"{number}.held")


def _put(file: Path, data: bytes) -> None:
    aside = file.with_suffix(".tmp")
    aside.write_bytes(data)
    aside.replace(file)


def cut_power(root: Path, kept: Path, rng: random.Random) -> int:
    """Lose what the disk need not hold; return how many files and folders were touched.

    Args:
        root: the folder, whose process is dead.
        kept: the records of `watch_flushes`.
        rng: the dice.
    """
    touched = _lose(root, kept, rng)
    shutil.rmtree(kept, ignore_errors=True)
    # The machine is up again: what is there now is on the disk.
    watched = [root, *root.rglob("*")]
    kept.mkdir(parents=True)
    for path in watched:
        _record(path, kept)
    return touched


def _lose(folder: Path, kept: Path, rng: random.Random) -> int:
    record = kept / f"{folder.stat().st_ino}.names"
    flushed = json.loads(record.read_text()) if record.exists() else {}
    touched = 0
    for path in list(folder.iterdir()):
        number = path.stat().st_ino
        known = flushed.get(path.name)
        if known != number and rng.random() < 0.5:
            # Its name was never flushed, so it may never have been there.
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            touched += 1
            if (before := kept / f"{known}.held").exists():
                # It was renamed over another file, whose name the disk still has.
                shutil.copyfile(before, path)
                _tear(path, kept / f"{known}.bytes", rng)
        elif path.is_dir():
            touched += _lose(path, kept, rng)
        else:
            touched += _tear(path, kept / f"{number}.bytes", rng)
    return touched


def _tear(path: Path, record: Path, rng: random.Random) -> int:
    """Cut what was written to a file behind its last flush, or leave blanks there."""
    now = path.read_bytes()
    safe = record.read_bytes() if record.exists() else b""
    if now == safe:
        return 0
    if not now.startswith(safe):
        safe = b""
    end = rng.randint(len(safe), len(now))
    tail = now[len(safe) : end] if rng.random() < 0.5 else bytes(end - len(safe))
    path.write_bytes(safe + tail)
    return 1
