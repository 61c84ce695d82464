"""A confined process decodes and can do little else."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hocket._errors import MediaError
from hocket.media.confine import confine
from hocket.media.guard import Guard, LostDecoderError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux forbids system calls")
MOST_BYTES = 2**30


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    made = Guard(deadline_seconds=30)
    made.call("start", confined_once)
    yield made
    made.close()


def confined_once(seconds: float = 20.0) -> int:
    confine(max_memory_bytes=MOST_BYTES, max_cpu_seconds=seconds)
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def connects() -> str:
    try:
        socket.create_connection(("127.0.0.1", 9))
    except OSError as error:
        return type(error).__name__
    return "connected"


def starts_a_program() -> str:
    try:
        subprocess.run([sys.executable, "-c", ""], check=True)
    except OSError as error:
        return type(error).__name__
    return "started"


def changes(path: str) -> tuple[tuple[str, str], ...]:
    """Try everything that would leave something else than it was."""
    file = Path(path)
    tries: dict[str, Callable[[], object]] = {
        "write": lambda: file.write_text("x"),
        "append": lambda: os.open(path, os.O_WRONLY | os.O_APPEND),
        "update": lambda: os.open(path, os.O_RDWR),
        "create": lambda: os.open(f"{path}.new", os.O_CREAT | os.O_EXCL),
        "truncate": lambda: os.truncate(path, 0),
        "unlink": file.unlink,
        "rename": lambda: file.rename(f"{path}.old"),
        "link": lambda: Path(f"{path}.link").hardlink_to(path),
        "symlink": lambda: Path(f"{path}.link").symlink_to(path),
        "mkdir": lambda: Path(f"{path}.folder").mkdir(),
        "rmdir": file.parent.rmdir,
        "chmod": lambda: file.chmod(0o777),
        "chown": lambda: os.chown(path, 1, 1),
        "utime": lambda: os.utime(path, (1, 1)),
        "mkfifo": lambda: os.mkfifo(f"{path}.pipe"),
        "setxattr": lambda: os.setxattr(path, "user.a", b"b"),
        "memory": lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR),
        "signal": lambda: os.kill(os.getppid(), 0),
        "signal to a thread": lambda: signal.pthread_kill(threading.get_ident(), signal.SIGCONT),
    }
    found: dict[str, str] = {}
    for name, attempt in tries.items():
        try:
            attempt()
        except OSError as error:
            found[name] = type(error).__name__
        else:
            found[name] = "done"
    return tuple(found.items())


def reads(path: str) -> bytes:
    return Path(path).read_bytes()


def takes_memory() -> int:
    try:
        return len(np.ones(2**28))
    except MemoryError as error:
        raise MediaError("too much") from error


def takes_time() -> None:
    confined_once(0.0)
    while True:
        pass


def number() -> int:
    return os.getpid()


def test_no_connection_and_no_program(guard: Guard) -> None:
    assert guard.call("x", connects) == "PermissionError"
    assert guard.call("x", starts_a_program) == "PermissionError"


def test_nothing_is_changed_and_nobody_is_signalled(guard: Guard, tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    file.write_bytes(b"kept")
    found = dict(guard.call("x", changes, str(file)))
    assert set(found.values()) == {"PermissionError"}, found
    assert [*file.parent.iterdir()] == [file]
    assert guard.call("x", reads, str(file)) == b"kept"


def test_memory_is_capped_and_the_process_lives_on(guard: Guard) -> None:
    before = guard.call("x", number)
    assert guard.call("x", confined_once) == MOST_BYTES
    with pytest.raises(MediaError, match="too much"):
        guard.call("x", takes_memory)
    assert guard.call("x", number) == before


def test_time_is_capped(guard: Guard) -> None:
    with pytest.raises(LostDecoderError, match=signal.SIGXCPU.name):
        guard.call("x", takes_time)
    assert guard.call("x", confined_once) == MOST_BYTES


def test_the_parent_stays_free() -> None:
    assert connects() != "PermissionError"
