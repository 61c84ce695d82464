from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.media.faulty import Aborting, Buggy, Hanging, Killed, loaded
from tests.toy import write_medium

from hocket._errors import MachineError, MediaError
from hocket.media import guard as module
from hocket.media.audio import Audio
from hocket.media.frames import Uniform
from hocket.media.guard import Guard, LostDecoderError
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.media.where import Where


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    made = Guard(deadline_seconds=20)
    yield made
    made.close()


def test_one_that_was_ended_while_it_had_nothing_to_do_is_started_again(tmp_path: Path) -> None:
    write_medium(tmp_path / "a.png", seed=1)
    image = Image.from_path(tmp_path / "a.png")
    made = Guard(deadline_seconds=20)
    try:
        size = made.call("a.png", image.size)
        assert made._child is not None
        made._child.process.kill()  # as the kernel does when memory runs out
        made._child.process.wait()
        assert made.call("a.png", image.size) == size
    finally:
        made.close()


def test_results_are_those_of_this_process(guard: Guard, tmp_path: Path) -> None:
    for name in ("a.png", "a.wav", "a.mp4"):
        write_medium(tmp_path / name, seed=1)
    image, sound = Image.from_path(tmp_path / "a.png"), Audio.from_path(tmp_path / "a.wav")
    film = Video.from_path(tmp_path / "a.mp4")
    assert guard.call("a", image.size) == image.size()
    pixels = guard.call("a", image.load)
    assert np.array_equal(pixels, image.load())
    pixels[:] = 0  # the caller owns it
    assert np.array_equal(guard.call("a", image.load), image.load())
    wave = guard.call("a", sound.load, 16000, resampler="soxr")
    assert np.array_equal(wave, sound.load(16000))
    frames, times = guard.call("a", film.load, Uniform(3))
    assert np.array_equal(frames, film.load(Uniform(3))[0])
    assert np.array_equal(times, film.load(Uniform(3))[1])


def test_large_and_small_answers_follow_each_other(guard: Guard) -> None:
    for height in (2, 3000, 5, 1, 2000):
        found = guard.call("zeros", np.ones, (height, 9000), np.uint8)
        assert found.shape == (height, 9000)
        assert found.all()
    assert guard.call("none", np.zeros, 0).size == 0


def test_an_error_of_the_medium_comes_through(guard: Guard, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"a\.png: not a picture") as caught:
        guard.call("a", Image.from_path(tmp_path / "a.png").load)
    assert not isinstance(caught.value, LostDecoderError)


def test_a_decoder_that_hangs_is_stopped(tmp_path: Path) -> None:
    guard = Guard(deadline_seconds=0.5)
    began = time.monotonic()
    with pytest.raises(LostDecoderError, match=r"b\.png: the decoder gave no answer in 0\.5 s"):
        guard.call("b.png", Hanging(Where.of_path("b.png")).load)
    assert time.monotonic() - began < 15
    assert guard.call("max", max, 1, 2) == 2
    guard.close()


@pytest.mark.parametrize(
    ("medium", "words"),
    [
        (Aborting(Where.of_path("c.png")).load, r"crashed \(SIGABRT\)"),
        (Killed(Where.of_path("c.png")).size, r"was killed \(SIGKILL\), most likely"),
        (Buggy(Where.of_path("c.png")).load, r"stopped with exit code 1"),
    ],
)
def test_a_decoder_that_crashes_costs_one_answer(
    guard: Guard, medium: object, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LostDecoderError, match=rf"c\.png: the decoder {words}") as caught:
        guard.call("c.png", medium)  # type: ignore[arg-type] # one of several methods
    assert "\n" not in str(caught.value)
    assert guard.call("max", max, 1, 2) == 2


def test_announced_calls_are_answered_in_order_and_some_may_be_left_out(guard: Guard) -> None:
    calls = [(str(size), np.full, ((size, 1000), size)) for size in range(40)]
    guard.announce(calls)
    for name, function, args in calls[::3]:
        assert np.array_equal(guard.call(name, function, *args), function(*args))
    assert guard.call("another", max, 1, 2) == 2
    guard.announce(calls)
    guard.announce(calls[5:])
    assert guard.call("5", np.full, (5, 1000), 5).shape == (5, 1000)
    # One that was passed over is called again.
    assert guard.call("3", np.full, (3, 1000), 3).shape == (3, 1000)


def test_more_may_be_announced_than_memory_is_shared(guard: Guard) -> None:
    calls = [(str(size), np.full, ((size, 1_000_000), size)) for size in (1, 3, 2, 5, 1, 1)]
    guard.announce(calls)
    for name, function, args in calls:
        found = guard.call(name, function, *args)
        assert found.shape == args[0]
        assert (found == args[1]).all()


def test_a_loss_among_announced_calls_costs_one(tmp_path: Path) -> None:
    guard = Guard(deadline_seconds=1)
    hanging = Hanging(Where.of_path("b.png"))
    damaged = Image.from_bytes(b"no picture", "d.png")
    guard.announce(
        [
            ("max", max, (1, 2)),
            ("d.png", damaged.load, ()),
            ("b.png", hanging.load, ()),
            ("min", min, (1, 2)),
        ]
    )
    assert guard.call("max", max, 1, 2) == 2
    with pytest.raises(MediaError, match="not a picture"):
        guard.call("d.png", damaged.load)
    with pytest.raises(LostDecoderError, match=r"b\.png: the decoder gave no answer"):
        guard.call("b.png", hanging.load)
    assert guard.call("min", min, 1, 2) == 1
    # What nobody asks for is no reason to lose another.
    guard.announce([("b.png", hanging.load, ()), ("min", min, (1, 2))])
    assert guard.call("min", min, 1, 2) == 1
    guard.close()


def test_a_fork_does_not_wait_for_what_its_parent_announced(guard: Guard) -> None:
    guard.announce([("max", max, (1, 2)), ("pid", os.getpid, ())])
    child = os.fork()
    if not child:
        own = guard.call("max", max, 1, 2) == 2
        guard.close()
        os._exit(0 if own else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert guard.call("max", max, 1, 2) == 2
    assert guard.call("pid", os.getpid) != os.getpid()


def test_a_pickled_guard_starts_its_own_process(guard: Guard) -> None:
    guard.call("max", max, 1, 2)
    again = pickle.loads(pickle.dumps(guard))
    assert again.deadline_seconds == guard.deadline_seconds
    assert again.call("pid", os.getpid) != guard.call("pid", os.getpid)
    again.close()


def test_a_forked_process_has_its_own_and_leaves_that_of_the_parent(guard: Guard) -> None:
    mine = guard.call("pid", os.getpid)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, str(guard.call("pid", os.getpid)).encode())
        guard.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(read, 20)) != mine
    assert guard.call("pid", os.getpid) == mine
    os.close(read)
    os.close(write)


def test_the_process_ends_with_its_parent() -> None:
    code = (
        "import os, time; from hocket.media.guard import Guard; g = Guard(deadline_seconds=9); "
        "print(g.call('pid', os.getpid), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    child.wait(timeout=10)


def test_a_process_that_hangs_ends_without_its_parent(tmp_path: Path) -> None:
    code = (
        "import sys, threading, time; from hocket.media.guard import Guard\n"
        "g = Guard(deadline_seconds=0.4); g.call('max', max, 1, 2)\n"
        "print(g._child.process.pid, flush=True); g._child.link.settimeout(99)\n"
        "g.call('sleep', time.sleep, 60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.3)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    child.wait(timeout=10)


def test_a_process_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CODE", "raise SystemExit(7)")
    with pytest.raises(MachineError, match=r"does not start \(stopped with exit code 7\)"):
        Guard(deadline_seconds=1).call("max", max, 1, 2)


def test_it_starts_without_torch(guard: Guard) -> None:
    assert guard.call("numpy", loaded, "numpy")
    assert not guard.call("torch", loaded, "torch")


def test_a_guard_in_a_cycle_of_garbage_ends_its_process_quietly() -> None:
    guard = Guard(deadline_seconds=20)
    guard.call("none", len, ())
    child = guard._child
    assert child is not None
    number = child.process.pid
    ring: list[object] = [guard, child.process, child.link]
    ring.append(ring)
    del guard, child, ring
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert not psutil.pid_exists(number)
