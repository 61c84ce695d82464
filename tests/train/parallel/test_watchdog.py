"""A step that does not finish ends the process, and the file says where it stood."""

from __future__ import annotations

import threading
from pathlib import Path

from hocket.train.parallel.watchdog import EXIT_CODE, Watchdog


def test_a_stalled_step_is_named_with_stacks(tmp_path: Path) -> None:
    ended = threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    watchdog = Watchdog(tmp_path, rank=3, seconds=0.05, end=end)
    watchdog.begin(7)
    watchdog.have(["a.json row 1 (cat)", "a.json row 2 (dog)"])
    watchdog.note("backward pass")
    assert ended.wait(10)
    watchdog.close()
    text = (tmp_path / "stalled.3.txt").read_text("utf-8")
    assert codes == [EXIT_CODE]
    assert "rank 3: step 7 has not finished in 0.05 s. Last phase: backward pass." in text
    assert "a.json row 1 (cat), a.json row 2 (dog)" in text
    assert "test_a_stalled_step_is_named_with_stacks" in text, "this thread's stack is missing"


def test_steps_that_finish_are_left_alone(tmp_path: Path) -> None:
    codes: list[int] = []
    watchdog = Watchdog(tmp_path, rank=0, seconds=0.4, end=codes.append)
    pause = threading.Event()
    for step in range(1, 7):
        watchdog.begin(step)
        watchdog.have([])
        pause.wait(0.1)
    watchdog.close()
    assert not codes
    assert not list(tmp_path.iterdir())
