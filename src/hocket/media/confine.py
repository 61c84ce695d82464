"""Lets a process that decodes do little else: capped memory and time, no network, no programs.

For files from strangers, as a server takes them: whoever takes a decoder over finds a process that
cannot connect, start a program, change a file, signal or look into another process, or take the
machine's memory. It can still read files: libraries are loaded when they are needed. Linux alone
can forbid system calls; other systems keep the caps that they know. Knows the kernel's limits; must
not know media or models.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import platform
import struct
import sys
from dataclasses import dataclass

# Numbers of linux/prctl.h, linux/seccomp.h, linux/audit.h and linux/filter.h.
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_TSYNC = 1
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_LOAD_WORD = 0x20
_JUMP_IF_EQUAL = 0x15
_JUMP_IF_AT_LEAST = 0x35
_RETURN = 0x06
_JUMP_IF_ANY_BIT = 0x45
_AT_NUMBER, _AT_ARCHITECTURE, _AT_ARGUMENTS = 0, 4, 16
# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC and O_APPEND; the same on both processors.
_WRITING = 0o3103
# From here on x86-64 has the same calls once more, for pointers of 32 bits.
_SECOND_NUMBERS = 0x40000000


@dataclass(frozen=True, slots=True)
class _Machine:
    """Numbers of one processor.

    Attributes:
        architecture: its own.
        seccomp: that of seccomp(2).
        refused: calls that are refused.
        opening: calls that open a file, each with the place of its flags among its arguments.
    """

    architecture: int
    seccomp: int
    refused: tuple[int, ...]
    opening: tuple[tuple[int, int], ...]


# On all processors: pidfd_send_signal, io_uring's three, pidfd_open, openat2, fchmodat2.
_NEW = (424, 425, 426, 427, 434, 437, 452)
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        317,
        (
            *_NEW,
            *(41, 42, 49, 59, 322, 101, 310, 311),  # socket to bind, exec, ptrace, process_vm
            *(62, 129, 200, 234, 297),  # kill, rt_sigqueueinfo, tkill, tgkill, rt_tgsigqueueinfo
            *(82, 83, 84, 85, 86, 87, 88, 258, 263, 264, 265, 266, 316),  # rename, mkdir, link
            *(76, 90, 91, 92, 93, 94, 260, 268, 280),  # truncate, chmod, chown, utimensat
            *(133, 259, 188, 189, 190, 197, 198, 199),  # mknod, setxattr, removexattr
            *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount, unshare, setns
        ),
        ((2, 1), (257, 2)),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        277,
        (
            *_NEW,
            *(198, 203, 200, 221, 281, 117, 270, 271),
            *(129, 138, 130, 131, 240),
            *(34, 35, 36, 37, 38, 276),
            *(45, 52, 53, 54, 55, 88),
            *(33, 5, 6, 7, 14, 15, 16),
            *(41, 51, 40, 39, 97, 268),
        ),
        ((56, 2),),
    ),
}

_state = {"closed": False}


def confine(*, max_memory_bytes: int, max_cpu_seconds: float) -> None:
    """Take from this process what no decoder needs; for the process of a guard, before each call.

    Args:
        max_memory_bytes: addresses that it may use, libraries included.
        max_cpu_seconds: time on a processor from now on; the kernel ends it (SIGXCPU) after that.
    """
    if sys.platform != "win32":
        _limit(max_memory_bytes, max_cpu_seconds)
    if not _state["closed"]:
        _state["closed"] = True
        # Decoders print parts of files there, which strangers wrote and terminals obey.
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, sys.stderr.fileno())
        os.close(silence)
        _forbid()


def _limit(max_memory_bytes: int, max_cpu_seconds: float) -> None:
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = math.ceil(used.ru_utime + used.ru_stime + max_cpu_seconds)
    for kind, most in (
        (resource.RLIMIT_AS, max_memory_bytes),
        (resource.RLIMIT_CPU, spent),
        (resource.RLIMIT_CORE, 0),
    ):
        _, ceiling = resource.getrlimit(kind)
        fits = ceiling == resource.RLIM_INFINITY or most <= ceiling
        resource.setrlimit(kind, (most if fits else ceiling, ceiling))


def _forbid() -> bool:
    """Forbid system calls that no decoder needs; say whether the kernel does so."""
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        return False
    rules = _rules(machine)
    code = ctypes.create_string_buffer(b"".join(rules))
    program = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    done: int = libc.syscall(
        ctypes.c_long(machine.seccomp),
        ctypes.c_long(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_long(_SECCOMP_FILTER_FLAG_TSYNC),
        program,
    )
    return done == 0


def _rules(machine: _Machine) -> list[bytes]:
    """Return the program that the kernel asks about every call; its last line refuses."""
    count = len(machine.refused) + 4 * len(machine.opening)
    rules = [
        _rule(_LOAD_WORD, 0, 0, _AT_ARCHITECTURE),
        # Another architecture's numbers mean other calls, so all of those are refused.
        _rule(_JUMP_IF_EQUAL, 1, 0, machine.architecture),
        _rule(_RETURN, 0, 0, _REFUSE),
        _rule(_LOAD_WORD, 0, 0, _AT_NUMBER),
        _rule(_JUMP_IF_AT_LEAST, count + 1, 0, _SECOND_NUMBERS),
    ]
    left = count
    for number in machine.refused:
        rules.append(_rule(_JUMP_IF_EQUAL, left, 0, number))
        left -= 1
    for number, place in machine.opening:
        rules += [
            _rule(_JUMP_IF_EQUAL, 0, 3, number),
            _rule(_LOAD_WORD, 0, 0, _AT_ARGUMENTS + 8 * place),
            _rule(_JUMP_IF_ANY_BIT, left - 2, 0, _WRITING),
            _rule(_RETURN, 0, 0, _ALLOW),
        ]
        left -= 4
    return [*rules, _rule(_RETURN, 0, 0, _ALLOW), _rule(_RETURN, 0, 0, _REFUSE)]


def _rule(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
