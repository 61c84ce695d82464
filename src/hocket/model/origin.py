"""Which files the weights of a tower came from, and whether they are still those.

safetensors of the model's number format are memory-mapped: a tower that nobody runs is never read
from the disk. Its origin names it without a look at its numbers, so that what was learned about
them once, such as their hash, is found again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from hocket._errors import CheckpointError

_DIGEST_BYTES = 16
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100 * 2**20
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was when it was opened."""

    path: Path
    number: tuple[int, int]
    size: int
    changed: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the weights of a tower came from.

    Attributes:
        identity: 32 hexadecimal digits of the files' paths, sizes, times, headers and, where a
            ``manifest.json`` lists them, hashes: other weights have another identity.
        files: the files.
        tensors: what the weights were in memory, to notice that they have changed since.
    """

    identity: str
    files: tuple[_File, ...]
    tensors: tuple[tuple[str, int, int], ...]


def find_origin(tower: nn.Module, files: Iterable[Path]) -> Origin | None:
    """Return the origin of weights that have just been read from safetensors files.

    Args:
        tower: the tower with these weights.
        files: every file that may hold some of them.

    Returns:
        None where there is no file, or one cannot be looked at.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    opened = []
    try:
        for file in sorted(files):
            path = file.resolve(strict=True)
            now = path.stat()
            opened.append(_File(path, (now.st_dev, now.st_ino), now.st_size, now.st_mtime_ns))
            listed = _listed(path.parent / _MANIFEST, path.name) or _listed(
                file.parent / _MANIFEST, file.name
            )
            told = [str(path), now.st_size, now.st_mtime_ns, _header(path), listed]
            digest.update(json.dumps(told).encode())
    except OSError:
        return None
    if not opened:
        return None
    return Origin(digest.hexdigest(), tuple(opened), _stamp(tower))


def is_unchanged(origin: Origin, tower: nn.Module) -> bool:
    """Return whether a tower's weights are still those that were read, untouched in memory."""
    return origin.tensors == _stamp(tower)


def check_files(origin: Origin, name: str) -> None:
    """Check that the files are as they were, before weights that may be mapped are used.

    A file that was deleted or replaced by another one is no harm: the mapping keeps it.

    Args:
        origin: of the tower.
        name: the tower's name, for the message.

    Raises:
        CheckpointError: a file was written over in its place.
    """
    for file in origin.files:
        try:
            now = file.path.stat()
        except OSError:
            continue
        same = (now.st_size, now.st_mtime_ns) == (file.size, file.changed)
        if (now.st_dev, now.st_ino) == file.number and not same:
            raise CheckpointError(
                f"{file.path} was written over while the run used it: {now.st_size:,} bytes, "
                f"{file.size:,} when it was opened. The weights of the {name} are needed from it "
                "now.\nPut the file back as it was and run the same command again."
            )


def _stamp(tower: nn.Module) -> tuple[tuple[str, int, int], ...]:
    """Return where each tensor of a tower lies and how often it was written to."""
    tensors: dict[str, Tensor] = dict(tower.named_parameters(remove_duplicate=False))
    tensors |= dict(tower.named_buffers(remove_duplicate=False))
    return tuple(
        # The version is torch's own count of changes in place.
        (f"{name} {one.device} {one.dtype}", one.data_ptr(), one._version)
        for name, one in sorted(tensors.items())
    )


def _header(file: Path) -> str:
    """Return the hash of a safetensors header: names, shapes, formats and places."""
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(_LENGTH_BYTES), "little")
        header = handle.read(min(length, _LONGEST_HEADER))
    return hashlib.blake2b(header, digest_size=_DIGEST_BYTES).hexdigest()


def _listed(manifest: Path, name: str) -> str:
    """Return the hash that a checkpoint's manifest lists for a file, or an empty text."""
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))["files"][name]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return str(found)
