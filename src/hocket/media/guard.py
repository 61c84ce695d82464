"""A process that decodes for this one, so that a hang or a crash in a decoder costs one file.

Decoders are C libraries that read files from strangers: one of them can loop for ever, crash, or
take so much memory that the kernel ends it. The process started here imports no torch, so it is up
in a quarter of a second and takes about 60 MB; it answers one call at a time, is killed when a call
takes too long, and is started again for the next call. Results come back through a socket, arrays
outside of the pickle.

It is a plain subprocess and not one of `multiprocessing`, whose workers may not have children: so
it works in a `DataLoader` worker too. Knows callables and bytes; must not know media or models.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import platform
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

from hocket._errors import HocketError, MachineError, MediaError

START_SECONDS = 120.0
"""How long the process may take to start on a busy machine."""

_READY = b"ready"
_SIZE = struct.Struct("!Q")
# Shared memory larger than this is given back when an answer needs far less.
_KEPT_BYTES = 64 * 2**20
# How the process is started: with the import path of this one, wherever that came from, and with
# the decoders, whose import is not to count for the first call.
_CODE = (
    "import sys; sys.path[:] = sys.argv[4:]; import hocket.media.examine; "
    "from hocket.media.guard import serve; "
    "serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))"
)

Given = ParamSpec("Given")
Result = TypeVar("Result")


class LostDecoderError(MediaError):
    """A decoder hung or crashed; the same file may be decoded at another time."""


class _Shared:
    """Memory of two processes, of the size that the writer makes it; an open file without a name.

    Args:
        number: its file descriptor, which this object owns.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._map: mmap.mmap | None = None

    @classmethod
    def new(cls) -> _Shared:
        """Return empty shared memory."""
        if platform.system() == "Linux":
            return cls(os.memfd_create("hocket-media", os.MFD_CLOEXEC))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def write(self, parts: list[memoryview]) -> None:
        """Put bytes there, one part behind the other."""
        size = sum(part.nbytes for part in parts)
        if not size:
            return
        held = len(self._map) if self._map else 0
        if size > held or held > max(4 * size, _KEPT_BYTES):
            self._unmap()
            os.ftruncate(self.number, size)
        at = 0
        for part in parts:
            self._mapped(size)[at : at + part.nbytes] = part
            at += part.nbytes

    def read(self, sizes: list[int]) -> list[bytearray]:
        """Return copies of what was put there."""
        held = os.fstat(self.number).st_size
        if self._map is not None and len(self._map) != held:
            self._unmap()
        found, at = [], 0
        for size in sizes:
            found.append(bytearray(memoryview(self._mapped(held))[at : at + size] if size else 0))
            at += size
        return found

    def close(self) -> None:
        """Let go of it; the other process may still have it."""
        self._unmap()
        os.close(self.number)

    def _mapped(self, size: int) -> mmap.mmap:
        if self._map is None:
            self._map = mmap.mmap(self.number, size)
        return self._map

    def _unmap(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None


class _Child(NamedTuple):
    """A started process, what leads to it, and the process that started it."""

    process: subprocess.Popen[bytes]
    link: socket.socket
    shared: _Shared
    parent: int

    def close(self) -> None:
        """Let go of what leads to the process."""
        self.link.close()
        self.shared.close()


class Guard:
    """Calls functions in a process of their own.

    It may be pickled and inherited by a fork: each process starts a child of its own, at the first
    call. Threads that share a guard wait for each other.

    Args:
        deadline_seconds: how long one call may take, above 0.
    """

    def __init__(self, *, deadline_seconds: float) -> None:
        self.deadline_seconds = deadline_seconds
        self._child: _Child | None = None
        self._lock = threading.Lock()

    def call(
        self,
        name: str,
        function: Callable[Given, Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """Return what a function returns.

        Args:
            name: the file, for messages.
            function: can be pickled by its name, or is a method of an object that can.
            args: positional arguments of the function.
            kwargs: its other arguments.

        Raises:
            LostDecoderError: no answer before the deadline, or the process died.
            MediaError: what the function raised.
            MachineError: the process cannot be started.
        """
        with self._lock:
            child = self._running()
            try:
                _send(child.link, (function, args, kwargs), None)
                raised, result = _receive(child.link, child.shared)
            except TimeoutError as error:
                self._stop(kill=True)
                raise LostDecoderError(
                    f"{name}: the decoder gave no answer in {self.deadline_seconds:g} s and was "
                    f"stopped. Remove its row or raise data.decode_deadline_seconds."
                ) from error
            except (EOFError, OSError) as error:
                code = self._stop(kill=False)
                raise LostDecoderError(
                    f"{name}: the decoder {_ending(code)}. Encode the file again or remove its row."
                ) from error
            except BaseException:
                # Ctrl-C in the middle of an answer: what is left of it must not answer the next.
                self._stop(kill=True)
                raise
        if raised is not None:
            raise MediaError(raised)
        found: Result = result
        return found

    def close(self) -> None:
        """End the process, if one was started; the next call starts another."""
        with self._lock:
            self._stop(kill=True)

    def _running(self) -> _Child:
        if self._child is not None and self._child.parent != os.getpid():
            # Inherited by a fork: the process is the parent's, and this end of the link a copy.
            self._child.close()
            self._child.process.returncode = 0
            self._child = None
        if self._child is None:
            self._child = self._started()
        return self._child

    def _started(self) -> _Child:
        ours, theirs = socket.socketpair()
        shared = _Shared.new()
        with theirs:
            passed = (theirs.fileno(), shared.number)
            words = [str(one) for one in (*passed, self.deadline_seconds, *sys.path)]
            try:
                process = subprocess.Popen(
                    [sys.executable, "-c", _CODE, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=passed,
                )
            except OSError as error:
                ours.close()
                shared.close()
                raise MachineError(
                    f"the process that decodes cannot be started ({error.strerror}). "
                    f"Free some memory, or set data.decode_deadline_seconds=0."
                ) from error
        child = _Child(process, ours, shared, os.getpid())
        ours.settimeout(START_SECONDS)
        try:
            ready = ours.recv(len(_READY)) == _READY
        except OSError:
            ready = False
        if not ready:
            self._child = child
            code = self._stop(kill=True)
            raise MachineError(
                f"the process that decodes does not start ({_ending(code)}). "
                f"Run hocket doctor, or set data.decode_deadline_seconds=0."
            )
        ours.settimeout(self.deadline_seconds)
        return child

    def _stop(self, *, kill: bool) -> int | None:
        """Forget the process; return its exit code, or None when it does not end."""
        if self._child is None:
            return None
        child, self._child = self._child, None
        child.close()
        if child.parent != os.getpid():
            child.process.returncode = 0
            return None
        if kill:
            child.process.kill()
        try:
            return child.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            # It waits for a disk that does not answer: the kernel ends it when that comes back.
            child.process.kill()
            return None

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings: another process has a child of its own."""
        return {"deadline_seconds": self.deadline_seconds}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the settings."""
        self.__init__(deadline_seconds=state["deadline_seconds"])  # type: ignore[misc]  # the state is its only argument

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._stop(kill=True)


def serve(link_number: int, shared_number: int, deadline_seconds: float) -> None:
    """Answer calls until the other end closes; the main function of the process.

    Args:
        link_number: file descriptor of the socket.
        shared_number: file descriptor of the memory for arrays.
        deadline_seconds: how long one call may take before the process ends itself.
    """
    # Ctrl-C reaches the whole terminal: the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # When memory runs out, the kernel is to end this process and not the run.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    shared = _Shared(shared_number)
    with socket.socket(fileno=link_number) as link:
        with contextlib.suppress(BrokenPipeError):
            link.sendall(_READY)
        while True:
            try:
                function, args, kwargs = _receive(link, shared)
            except (EOFError, ConnectionError):
                return
            # The alarm ends a process whose parent is gone; a living parent kills it before that.
            signal.setitimer(signal.ITIMER_REAL, 2 * deadline_seconds + 1)
            raised, result = None, None
            try:
                result = function(*args, **kwargs)
            except HocketError as error:
                raised = str(error)
            signal.setitimer(signal.ITIMER_REAL, 0)
            with contextlib.suppress(BrokenPipeError):
                _send(link, (raised, result), shared)


def _ending(code: int | None) -> str:
    if code is None:
        return "does not end"
    if code >= 0:
        return f"stopped with exit code {code}"
    if -code == signal.SIGKILL:
        return "was killed (SIGKILL), most likely because it took too much memory"
    return f"crashed ({signal.Signals(-code).name})"


def _send(link: socket.socket, what: object, shared: _Shared | None) -> None:
    """Send an object: the number of its arrays, all sizes, the pickle; arrays in shared memory."""
    buffers: list[pickle.PickleBuffer] = []
    keep = buffers.append if shared else None
    body = pickle.dumps(what, protocol=5, buffer_callback=keep)
    raw = [buffer.raw() for buffer in buffers]
    if shared and raw:
        shared.write(raw)
    sizes = [one.nbytes for one in raw]
    link.sendall(struct.pack(f"!{len(sizes) + 2}Q", len(raw), len(body), *sizes) + body)


def _receive(link: socket.socket, shared: _Shared) -> Any:
    """Return what the other end sent; arrays are copies that may be written to.

    Raises:
        EOFError: the other end has closed.
        TimeoutError: nothing came in time.
    """
    (count,) = _SIZE.unpack(_read(link, _SIZE.size))
    length, *sizes = struct.unpack(f"!{count + 1}Q", _read(link, _SIZE.size * (count + 1)))
    body = _read(link, length)
    return pickle.loads(body, buffers=shared.read(sizes) if sizes else ())


def _read(link: socket.socket, size: int) -> bytearray:
    found = bytearray(size)
    view = memoryview(found)
    while view:
        count = link.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return found
