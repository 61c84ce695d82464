"""Names, order and number of a run's checkpoints; the last good one is never deleted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from hocket._errors import CheckpointError
from hocket._log import warn
from hocket.checkpoint.manifest import TEMPORARY, verify_directory

_NAME = re.compile(r"(?P<stage>.+)-step-(?P<step>\d+)")


def checkpoint_name(stage: str, step: int) -> str:
    """Return the folder name of a checkpoint."""
    return f"{stage}-step-{step:06d}"


def checkpoints_of(folder: Path) -> list[Path]:
    """Return a run's checkpoint folders, newest first; nothing is changed."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed save has left; only with the run's lock: it might be a live one's."""
    for path in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def delete_old(folder: Path, *, keep: int, newest: Path) -> None:
    """Delete all but the newest `keep` checkpoints.

    `newest` always stays, and where the disk does not give back what was written, all others too.
    """
    try:
        verify_directory(newest)
    except CheckpointError as error:
        warn(f"no older checkpoint is deleted: {error}")
        return
    others = [path for path in checkpoints_of(folder) if path != newest]
    for path in others[max(keep - 1, 0) :]:
        shutil.rmtree(path, ignore_errors=True)
