"""What this process takes from a decoder that a file has taken over: nothing but a wrong answer."""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from hocket.media.audio import Audio
from hocket.media.examine import Examined
from hocket.media.guard import Guard, LostDecoderError
from hocket.media.link import read_answer
from hocket.media.packed import BadAnswerError, pack, unpack
from hocket.media.shared import Shared
from hocket.media.video import VideoInfo
from hocket.media.where import Where


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (self.path,)


def forged(message: bytes, pause_seconds: float = 0.0) -> None:
    """Answer in the place of the process's own code: its socket is the first of its arguments."""
    with socket.socket(fileno=os.dup(int(sys.argv[1]))) as link:
        for at in range(len(message)) if pause_seconds else ():
            link.sendall(message[at : at + 1])
            time.sleep(pause_seconds)
        link.sendall(message)
        time.sleep(30)


def said(text: bytes, *sizes: int) -> bytes:
    """Return an answer as it is sent."""
    return struct.pack(f"!{len(sizes) + 3}Q", len(sizes), len(text), 0, *sizes) + text


LIES = {
    "a kind that is none": json.dumps([None, {"Canary": ["x"]}]).encode(),
    "a class of Python": json.dumps([None, {"builtins.eval": ["1"]}]).encode(),
    "a kind with wrong fields": json.dumps([None, {"VideoInfo": [1]}]).encode(),
    "an object of two kinds": json.dumps([None, {"path": "a", "bytes": 0}]).encode(),
    "an array of objects": json.dumps([None, {"array": ["O", [1], 0]}]).encode(),
    "an array of nothing": json.dumps([None, {"array": ["B", [9], 0]}]).encode(),
    "no pair": b"[1]",
    "an error that is none": b"[1, 2]",
    "no JSON": b"\xff\x00",
    "depth": b"[" * 500_000,
    "digits": b"[null, " + b"9" * 50_000 + b"]",
}


def read(message: bytes) -> object:
    """Read an answer that some bytes are, with a few kilobytes of shared memory."""
    ours, theirs = socket.socketpair()
    shared = Shared.new()
    with ours, theirs:
        threading.Thread(target=theirs.sendall, args=(message,), daemon=True).start()
        try:
            shared.write([memoryview(bytes(4096))], at=0)
            return read_answer(ours, shared, until=time.monotonic() + 20, most=2**20)
        finally:
            shared.close()


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_none_is_refused(lie: str) -> None:
    with pytest.raises(BadAnswerError):
        read(said(LIES[lie]))
    assert read(said(b"[null, 3]")) == (None, 3, 0)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_not_opened(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(BadAnswerError):
        read(said(pickle.dumps((None, Canary(str(canary))), protocol)))
    assert not canary.exists()


@pytest.mark.parametrize(
    "head",
    [(0, 2**40, 0), (2**40, 2, 0), (2**63, 2**63, 2**63), (1, 2, 0, 2**60)],
    ids=str,
)
def test_sizes_that_lie_take_no_memory(head: tuple[int, ...]) -> None:
    with pytest.raises(BadAnswerError, match="arrays"):
        read(struct.pack(f"!{len(head)}Q", *head) + b"{}")


@pytest.mark.parametrize(("at", "size"), [(2**63, 8), (4000, 200), (2**20, 1)])
def test_arrays_that_are_not_there_are_refused(at: int, size: int) -> None:
    text = json.dumps([None, {"array": ["B", [size], 0]}]).encode()
    with pytest.raises(BadAnswerError):
        read(struct.pack("!4Q", 1, len(text), at, size) + text)


def test_a_decoder_that_was_taken_over_costs_one_file(tmp_path: Path) -> None:
    guard, canary = Guard(deadline_seconds=20), tmp_path / "canary"
    with pytest.raises(LostDecoderError, match=r"a\.png: the decoder gave an answer that") as told:
        guard.call("a.png", forged, said(pickle.dumps((None, Canary(str(canary))))))
    assert "\n" not in str(told.value)
    assert not canary.exists()
    assert guard.call("max", max, 1, 2) == 2
    guard.close()


def test_bytes_that_drip_are_late() -> None:
    guard = Guard(deadline_seconds=0.5)
    guard.call("max", max, 1, 2)
    began = time.monotonic()
    with pytest.raises(LostDecoderError, match=r"gave no answer in 0\.5 s"):
        guard.call("a.png", forged, said(b"[null, 1]"), 0.1)
    assert time.monotonic() - began < 5
    guard.close()


@pytest.mark.parametrize(
    "value",
    [
        None,
        (True, 3, 2.5, float("inf"), "a\ud800\0", ("nested", ())),
        b"bytes",
        Path("/a/b.png"),
        Where.of_path("a.png"),
        Where.of_bytes(b"data", "name"),
        VideoInfo(3, 29.97, 1.5, 20, 30),
        Examined("00ff", 600, 0.0),
    ],
    ids=str,
)
def test_an_answer_comes_back_as_it_was(value: object) -> None:
    text, parts = pack(value)
    found = unpack(text, [bytearray(part) for part in parts])
    assert found == value
    assert type(found) is type(value)


def test_a_sound_comes_back_without_what_it_remembered() -> None:
    sound = Audio.from_array(np.arange(4, dtype=np.float32), rate=8000, name="tone")
    text, parts = pack((sound, Audio.from_bytes(b"x", "y")))
    found, other = unpack(text, [bytearray(part) for part in parts])
    assert found == sound
    assert found.rate == 8000
    assert other == Audio.from_bytes(b"x", "y")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10, dtype=">i4")[::3],
        np.zeros((0, 3), np.float32),
        np.array(3.5),
        np.array([True, False]),
    ],
    ids=lambda one: f"{one.dtype}{one.shape}",
)
def test_an_array_comes_back_as_numbers_that_may_be_changed(array: npt.NDArray[np.generic]) -> None:
    text, parts = pack(array)
    found = unpack(text, [bytearray(part) for part in parts])
    assert np.array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")
    found[...] = 0


@pytest.mark.parametrize("value", [[1], {"a": 1}, Fraction(1, 2), object(), np.array([object()])])
def test_other_things_are_no_answers(value: object) -> None:
    with pytest.raises(TypeError, match="is no answer of a decoder"):
        pack(value)


def test_a_place_outside_of_the_parts_is_refused() -> None:
    with pytest.raises(BadAnswerError, match="IndexError"):
        unpack(b'{"bytes": 3}', [])
