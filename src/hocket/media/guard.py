"""A process that decodes for this one, so that a hang or a crash in a decoder costs one file.

Decoders are C libraries that read files from strangers: one of them can loop for ever, crash, or
take so much memory that the kernel ends it. The process started here imports no torch, so it is up
in a quarter of a second and takes about 60 MB; it answers one call at a time, is killed when a call
takes too long, and is started again for the next call. Calls may be announced: the process then
answers them one after the other while this one does other work, and neither has to wake the other
for each. What an answer says is never trusted, since a file may have taken the decoder over.

It is a plain subprocess and not one of `multiprocessing`, whose workers may not have children: so
it works in a `DataLoader` worker too. Knows callables and bytes; must not know media or models.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

from hocket._errors import HocketError, MachineError, MediaError
from hocket.media.link import Call, read_answer, read_bytes, read_calls, send_answer, send_calls
from hocket.media.shared import Shared

START_SECONDS = 120.0
"""How long the process may take to start on a busy machine."""

_READY = b"ready"
# How much of what was asked ahead may wait in shared memory; one answer more may be on top.
_AHEAD_BYTES = 6 * 2**20
_GO_ON = b"g"
# How the process is started: with the import path of this one, wherever that came from, and with
# the decoders, whose import is not to count for the first call.
_CODE = (
    "import sys; sys.path[:] = sys.argv[4:]; import hocket.media.examine; "
    "from hocket.media.guard import answer_calls; "
    "answer_calls(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))"
)

Given = ParamSpec("Given")
Result = TypeVar("Result")


class LostDecoderError(MediaError):
    """A decoder hung or crashed; the same file may be decoded at another time."""


class _Call(NamedTuple):
    """A call that the process is to answer, and the file that it is about."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _Child(NamedTuple):
    """A started process, what leads to it, and the process that started it."""

    process: subprocess.Popen[bytes]
    link: socket.socket
    shared: Shared
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

    Attributes:
        most_answer_bytes: how large an answer may be.
    """

    most_answer_bytes = 16 * 2**30

    def __init__(self, *, deadline_seconds: float) -> None:
        self.deadline_seconds = deadline_seconds
        self._child: _Child | None = None
        # Ends the child when this object is gone. No `__del__`: in a cycle of garbage that of the
        # child's parts might come first.
        self._gone: weakref.finalize[..., Guard] | None = None
        # Sent and not yet answered, in the order of the answers.
        self._asked: deque[_Call] = deque()
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
            LostDecoderError: no answer before the deadline or none that can be one, or the process
                died.
            MediaError: what the function raised.
            MachineError: the process cannot be started.
        """
        wanted = _Call(name, function, args, kwargs)
        with self._lock:
            self._running()
            self._skip(wanted if any(_same(one, wanted) for one in self._asked) else None)
            if not self._asked:
                self._ask([wanted])
            raised, result = self._take()
        if raised is not None:
            raise MediaError(raised)
        found: Result = result
        return found

    def announce(self, calls: Sequence[tuple[str, Callable[..., Any], tuple[Any, ...]]]) -> None:
        """Have the process begin with calls that will be made, so that nobody waits for each.

        A result is kept until `call` is made with the same function and arguments, or with those of
        a later one of the calls. What goes wrong is raised there.

        Args:
            calls: name, function and arguments of each, as `call` takes them, in order.
        """
        with self._lock, contextlib.suppress(LostDecoderError, MachineError):
            self._running()
            self._skip(None)
            self._ask([_Call(*one, {}) for one in calls])

    def _ask(self, calls: Sequence[_Call]) -> None:
        """Send calls; nothing may be left to be answered."""
        child = self._running()
        self._asked.extend(calls)
        try:
            send_calls(child.link, [one[1:] for one in calls])
        except OSError as error:
            raise self._lost(calls[0].name, error) from error
        except BaseException:
            self._stop(kill=True)
            raise

    def _skip(self, until: _Call | None) -> None:
        """Take the answers that nobody asks for in front of a call, or all."""
        while self._asked and not (until and _same(self._asked[0], until)):
            with contextlib.suppress(LostDecoderError):
                self._take()

    def _take(self) -> tuple[str | None, Any]:
        """Return the next answer: the text of an error or None, and the result."""
        child = self._running()
        name = self._asked.popleft().name
        try:
            until = time.monotonic() + self.deadline_seconds
            raised, result, end = read_answer(
                child.link, child.shared, until=until, most=self.most_answer_bytes
            )
            if end >= _AHEAD_BYTES:
                child.link.sendall(_GO_ON)
        except (EOFError, OSError) as error:
            raise self._lost(name, error) from error
        except (ValueError, MemoryError) as error:
            self._stop(kill=True)
            raise LostDecoderError(
                f"{name}: the decoder gave an answer that no decoder gives, and was stopped. "
                "Remove its row, and keep the file for a look: it may have been made to do this."
            ) from error
        except BaseException:
            # Ctrl-C in the middle of an answer: what is left of it must not answer the next.
            self._stop(kill=True)
            raise
        return raised, result

    def _lost(self, name: str, error: OSError | EOFError) -> LostDecoderError:
        """Stop the process and return what is to be told about a file."""
        if isinstance(error, TimeoutError):
            self._stop(kill=True)
            return LostDecoderError(
                f"{name}: the decoder gave no answer in {self.deadline_seconds:g} s and was "
                f"stopped. Remove its row or raise data.decode_deadline_seconds."
            )
        code = self._stop(kill=False)
        return LostDecoderError(
            f"{name}: the decoder {_ending(code)}. Encode the file again or remove its row."
        )

    def close(self) -> None:
        """End the process, if one was started; the next call starts another."""
        with self._lock:
            self._stop(kill=True)

    def _running(self) -> _Child:
        if self._child is not None and self._child.parent != os.getpid():
            self._stop(kill=False)
        # Ended while it had nothing to do, by the kernel most likely: no file is to blame.
        if self._child is not None and not self._asked and self._child.process.poll() is not None:
            self._stop(kill=False)
        if self._child is None:
            self._keep(self._started())
        assert self._child is not None
        return self._child

    def _keep(self, child: _Child) -> None:
        self._child = child
        self._gone = weakref.finalize(self, _end, child, kill=True)

    def _started(self) -> _Child:
        ours, theirs = socket.socketpair()
        shared = Shared.new()
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
            code = _end(child, kill=True)
            raise MachineError(
                f"the process that decodes does not start ({_ending(code)}). "
                f"Run hocket doctor, or set data.decode_deadline_seconds=0."
            )
        ours.settimeout(self.deadline_seconds)
        return child

    def _stop(self, *, kill: bool) -> int | None:
        """Forget the process; return its exit code, or None when it does not end."""
        self._asked.clear()
        if self._child is None:
            return None
        child, self._child = self._child, None
        if self._gone is not None:
            self._gone.detach()
        return _end(child, kill=kill)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings: another process has a child of its own."""
        return {"deadline_seconds": self.deadline_seconds}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the settings."""
        self.__init__(deadline_seconds=state["deadline_seconds"])  # type: ignore[misc]  # the state is its only argument


def _end(child: _Child, *, kill: bool) -> int | None:
    """Let go of a process and return its exit code, or None when it does not end."""
    child.close()
    if child.parent != os.getpid():
        # Inherited by a fork: the process is the parent's, and this end of the link a copy.
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


def answer_calls(link_number: int, shared_number: int, deadline_seconds: float) -> None:
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
    shared = Shared(shared_number)
    with socket.socket(fileno=link_number) as link:
        with contextlib.suppress(BrokenPipeError):
            link.sendall(_READY)
        while True:
            try:
                at = 0
                for call in read_calls(link):
                    answer = _answer(call, deadline_seconds)
                    at = send_answer(link, answer, shared, at=at)
                    if at >= _AHEAD_BYTES:
                        read_bytes(link, len(_GO_ON))
                        at = 0
            except (EOFError, ConnectionError):
                return


def _answer(call: Call, deadline_seconds: float) -> tuple[str | None, Any]:
    """Return the text of an error or None, and the result."""
    function, args, kwargs = call
    # The alarm ends a process whose parent is gone; a living parent kills it before that.
    signal.setitimer(signal.ITIMER_REAL, 2 * deadline_seconds + 1)
    try:
        return None, function(*args, **kwargs)
    except HocketError as error:
        return str(error), None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _same(one: _Call, other: _Call) -> bool:
    # The function first: it is a method of this very medium, while arguments may be arrays.
    return one.function == other.function and one[2:] == other[2:]


def _ending(code: int | None) -> str:
    if code is None:
        return "does not end"
    if code >= 0:
        return f"stopped with exit code {code}"
    if -code == signal.SIGKILL:
        return "was killed (SIGKILL), most likely because it took too much memory"
    return f"crashed ({signal.Signals(-code).name})"
