"""How calls go to the process that decodes, and how its answers come back.

Calls are pickles, since that process trusts this one. Answers are `packed`, since this one must not
trust that: it has read the files of strangers. Knows sockets and shared memory; must not know
processes or media.
"""

from __future__ import annotations

import math
import pickle
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hocket.media.packed import BadAnswerError, pack, unpack
from hocket.media.shared import Shared

Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""A function, its arguments and its named arguments."""

_HEAD = struct.Struct("!3Q")
_LENGTH = struct.Struct("!Q")
# A few arrays and a few words are an answer; lists of millions would take a hundred times their
# text in memory.
_MOST_ARRAYS = 1024
_MOST_TEXT_BYTES = 2**20


def send_calls(link: socket.socket, calls: Sequence[Call]) -> None:
    """Send calls, their media inside of the pickle."""
    body = pickle.dumps(list(calls), protocol=5)
    link.sendall(_LENGTH.pack(len(body)) + body)


def read_calls(link: socket.socket) -> list[Call]:
    """Return what `send_calls` sent; only the process that decodes may trust its other end so."""
    (length,) = _LENGTH.unpack(read_bytes(link, _LENGTH.size))
    calls: list[Call] = pickle.loads(read_bytes(link, length))
    return calls


def send_answer(
    link: socket.socket, answer: tuple[str | None, Any], shared: Shared, *, at: int
) -> int:
    """Send an answer, its arrays in shared memory from a place on; return where they end.

    The message: how many arrays, the size of the text, where the arrays start, the size of each,
    the text.
    """
    body, parts = pack(answer)
    end = shared.write(parts, at=at)
    sizes = [one.nbytes for one in parts]
    link.sendall(struct.pack(f"!{len(sizes) + 3}Q", len(sizes), len(body), at, *sizes) + body)
    return end


def read_answer(
    link: socket.socket, shared: Shared, *, until: float, most: int
) -> tuple[str | None, Any, int]:
    """Return an answer: the text of an error or None, the result, and where its arrays ended.

    Its arrays are copies that may be written to. Nothing that is sent is trusted.

    Args:
        link: where it comes from.
        shared: where its arrays are.
        until: when it must be there, as `time.monotonic` counts.
        most: how many bytes its arrays may have.

    Raises:
        EOFError: the process has ended.
        TimeoutError: the answer was not there in time.
        ValueError: it is none.
    """
    count, length, at = _HEAD.unpack(read_bytes(link, _HEAD.size, until))
    if count > _MOST_ARRAYS or length > _MOST_TEXT_BYTES:
        raise BadAnswerError(f"{count} arrays and {length} bytes of text")
    sizes = struct.unpack(f"!{count}Q", read_bytes(link, 8 * count, until)) if count else ()
    if sum(sizes) > most:
        raise BadAnswerError(f"{sum(sizes)} bytes of arrays")
    body = read_bytes(link, length, until)
    found = unpack(body, shared.read(sizes, at=at) if sizes else ())
    match found:
        case (None | str() as raised, result):
            return raised, result, at + sum(sizes)
    raise BadAnswerError(f"{type(found).__name__} instead of an error and a result")


def read_bytes(link: socket.socket, size: int, until: float = math.inf) -> bytearray:
    """Return so many bytes; each piece may take what the socket allows, all of them until then.

    Raises:
        EOFError: the other end has closed.
        TimeoutError: they were not there in time.
    """
    found = bytearray(size)
    view = memoryview(found)
    while view:
        count = link.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
        if view and time.monotonic() > until:
            raise TimeoutError
    return found
