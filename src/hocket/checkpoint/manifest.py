"""A directory that is either complete or absent.

It is written under a temporary name, hashed file by file into ``manifest.json``, flushed to the
disk and renamed. A directory without a valid manifest is not a checkpoint, whatever it holds.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from hocket._errors import CheckpointError, MachineError

MANIFEST = "manifest.json"
TEMPORARY = ".tmp-"
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def write_directory(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary directory, then put it in the place of `target`.

    Raises:
        MachineError: no space, no permission, or a read-only disk; nothing is left behind.
    """
    temporary = target.with_name(f"{TEMPORARY}{target.name}-{os.getpid()}")
    try:
        make_folder(target.parent)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        write(temporary)
        _seal(temporary)
        _replace(target, temporary)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise machine_error(target, error) from error
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        # safetensors and tokenizers write in Rust, whose errors carry the number in their text.
        if number := _OS_ERROR.search(str(error)):
            code = int(number[1])
            raise machine_error(target, OSError(code, os.strerror(code))) from error
        raise


def verify_directory(folder: Path, *, hashes: bool = True) -> dict[str, str]:
    """Check a directory against its manifest.

    Args:
        folder: the directory.
        hashes: compare contents; otherwise sizes only.

    Returns:
        file name -> sha256.

    Raises:
        CheckpointError: the manifest or a file is missing, or a file differs.
    """
    manifest = folder / MANIFEST
    try:
        files = {
            str(name): (int(entry["bytes"]), str(entry["sha256"]))
            for name, entry in json.loads(manifest.read_text(encoding="utf-8"))["files"].items()
        }
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} has no {MANIFEST}: it was not written completely, or not by hocket."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{manifest} is damaged. Use another checkpoint.") from error
    for name, (length, digest) in files.items():
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{folder} lacks {name}. Use another checkpoint.")
        size = file.stat().st_size
        if size != length:
            raise CheckpointError(
                f"{file} holds {size} bytes; {length} were written. Use another checkpoint."
            )
        if hashes and _sha256(file) != digest:
            raise CheckpointError(
                f"{file} has changed since it was written: its sha256 differs. "
                "Use another checkpoint."
            )
    return {name: digest for name, (_, digest) in files.items()}


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, that a cut of the power does not take away.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        flush(path.parent)


def machine_error(target: Path, error: OSError) -> MachineError:
    """Say in one sentence why a path cannot be written and what to do."""
    reasons = {
        errno.ENOSPC: "no space is left on the disk. Free some, then run the same command again.",
        errno.EDQUOT: "the disk quota is used up. Free some, then run the same command again.",
        errno.EFBIG: "File too large for this disk or for ulimit -f. Choose another folder.",
        errno.EACCES: "no permission to write there. Choose another folder with out=FOLDER.",
        errno.EPERM: "no permission to write there. Choose another folder with out=FOLDER.",
        errno.EROFS: "the disk is read-only. Choose another folder with out=FOLDER.",
        errno.ENOTDIR: "a file stands where a folder is needed. Choose another folder.",
        errno.EEXIST: "a file stands where a folder is needed. Choose another folder.",
    }
    reason = reasons.get(error.errno or 0, f"{error.strerror or error}.")
    return MachineError(f"cannot write {target}: {reason}")


def _seal(folder: Path) -> None:
    """Write the manifest and flush every file and the folder."""
    files = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        files[name] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        flush(file)
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"version": 1, "files": files}, indent=1), encoding="utf-8")
    flush(manifest)
    for path in [*(path for path in folder.rglob("*") if path.is_dir()), folder]:
        flush(path)


def _replace(target: Path, complete: Path) -> None:
    """Rename; an old directory of that name steps aside first and is then removed."""
    old = target.with_name(f"{TEMPORARY}old-{target.name}-{os.getpid()}")
    if target.exists():
        target.rename(old)
    complete.rename(target)
    flush(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def flush(path: Path) -> None:
    """Wait until the disk holds a file's bytes, or a folder's names.

    Raises:
        OSError: it cannot.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
