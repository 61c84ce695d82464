"""Host memory: what a step has freed stays with the process, for the next step.

glibc takes each block above a limit (32 MiB at most) from the kernel and gives it back when it is
freed. A step on a CPU frees and takes hundreds of such blocks, and the kernel clears every page of
them anew. How much faster steps are without that is in ``docs/performance.md``. Knows no tensors.
"""

from __future__ import annotations

import ctypes
import platform

from hocket._env import allocator_is_set

# Names and numbers of <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_NEVER = -1
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, in blocks of less than 2 GiB; return whether it will.

    Nothing is done on other C libraries than glibc, and nothing where an environment variable says
    how glibc is to work (``MALLOC_TRIM_THRESHOLD_`` and its like, ``GLIBC_TUNABLES``).
    """
    if platform.libc_ver()[0] != "glibc" or allocator_is_set():
        return False
    libc = ctypes.CDLL(None)
    return bool(
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST) and libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    )
