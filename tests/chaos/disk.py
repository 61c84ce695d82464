"""A disk that fills up or closes while a trainer writes to it, without a disk of its own.

`fill_disk` lowers the size that a running process may give a file; `close_folder` takes the right
to write away, which root has to be denied by `obey_permissions` first.
"""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

_VERSION = 0x20080522  # of the kernel's capget and capset
_OVERRIDES = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
_BYTES = 2**16  # less than a checkpoint, more than what the tests themselves write


def fill_disk(pid: int) -> None:
    """Let every write of a process behind a file's first bytes fail from now on.

    Its workers write to shared memory, not to the disk: `spare_workers` keeps them out of it.
    """
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (_BYTES, most))


def spare_workers() -> None:
    """Let processes that this one forks write as before."""

    def lift() -> None:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    os.register_at_fork(after_in_child=lift)


def close_folder(folder: Path) -> None:
    """Let nothing be made or taken away in a folder and its checkpoints."""
    for one in (folder, folder / "checkpoints"):
        if one.is_dir():
            one.chmod(0o500)


def open_folder(folder: Path) -> None:
    """Undo `close_folder`."""
    for one in (folder, folder / "checkpoints"):
        if one.is_dir():
            one.chmod(0o700)


def obey_permissions() -> None:
    """Let permissions count for this process though it may be root's."""
    if os.geteuid() != 0:
        return
    kernel = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    if kernel.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for place in (0, 1):  # what is in force, and what may be
        sets[place] &= ~_OVERRIDES
    if kernel.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")
