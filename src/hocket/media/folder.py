"""The pictures in a folder, in the order in which they were taken.

Knows names of files; must not know what is inside them.
"""

from __future__ import annotations

import fnmatch
import json
import math
import re
from pathlib import Path

from hocket._errors import MediaError
from hocket.media.where import reason

TIMES = ".times.json"
"""File of a folder of frames that holds their seconds; without it they follow at a fixed rate."""

_DIGITS = re.compile(r"([0-9]+)")


def frame_files(folder: Path | str, *, pattern: str | None = None) -> tuple[Path, ...]:
    """Return the files of a folder, sorted so that ``2.png`` comes before ``10.png``.

    Folders in it and names that begin with a dot are left out. No file is opened.

    Args:
        folder: where the files are.
        pattern: which of them, such as ``*.jpg``; None takes all, which must then have one
            ending, so that a list of times between the pictures does not become a frame.

    Raises:
        MediaError: no folder, not readable, no such file in it, or files of several endings.
    """
    try:
        # ValueError: a NUL inside the path
        entries = [entry for entry in Path(folder).iterdir() if entry.is_file()]
    except NotADirectoryError as error:
        raise MediaError(f"{folder}: a file, not a folder. Name the folder of frames.") from error
    except FileNotFoundError as error:
        raise MediaError(f"{folder}: no such folder. Check the path.") from error
    except (OSError, ValueError) as error:
        raise MediaError(f"{folder}: cannot be listed ({reason(error)}). Check it.") from error
    files = [
        entry
        for entry in entries
        if not entry.name.startswith(".") and fnmatch.fnmatchcase(entry.name, pattern or "*")
    ]
    if not files:
        wanted = f"matches {pattern!r}" if pattern else "can be a frame"
        raise MediaError(
            f"{folder}: none of its {len(entries)} files {wanted}. Check the folder and pattern."
        )
    endings = sorted({file.suffix.lower() for file in files})
    if pattern is None and len(endings) > 1:
        raise MediaError(
            f"{folder}: files of several endings ({', '.join(map(repr, endings[:5]))}), expected "
            f"pictures of one. Remove the others or give a pattern such as '*{endings[0]}'."
        )
    return tuple(sorted(files, key=_natural))


def frame_times(folder: Path | str, count: int) -> list[float] | None:
    """Return the seconds of each frame of a folder, or None where no file of it says them.

    Args:
        folder: where the frames are; `TIMES` in it is a list of numbers that never fall.
        count: how many frames there are.

    Raises:
        MediaError: the file cannot be read, or holds something else.
    """
    try:
        # ValueError: a NUL inside the path, or no JSON
        found = json.loads((Path(folder) / TIMES).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MediaError(
            f"{folder}/{TIMES}: cannot be read ({reason(error)}). Remove it."
        ) from error
    times = found if isinstance(found, list) else []
    known = all(isinstance(one, int | float) and math.isfinite(one) for one in times)
    if len(times) != count or not known or sorted(times) != times:
        raise MediaError(
            f"{folder}/{TIMES}: expected {count} numbers that never fall, one for each frame. "
            f"Extract the frames again or remove the file."
        )
    return [float(one) for one in times]


def _natural(file: Path) -> tuple[list[tuple[str, int]], str]:
    """Return a key that compares runs of digits as numbers; equal numbers by their spelling."""
    # Without its ending: "a.png" comes before "a1.png".
    parts = _DIGITS.split(file.stem.lower())
    numbers = [int(part) for part in parts[1::2]]
    return list(zip(parts[::2], [*numbers, -1], strict=True)), file.name
