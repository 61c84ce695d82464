"""Being asked to stop: the signals that a run collects, and the error it ends with."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hocket._errors import HocketError


class RunStoppedError(HocketError):
    """The run was asked to stop and has saved a checkpoint.

    Its exit code is 130 behind Ctrl-C, and 124 when a scheduler or the clock asked: that code tells
    ``hocket launch`` to queue the run again.

    Args:
        checkpoint: where the run goes on.
        by_hand: whether it was Ctrl-C.
    """

    exit_code = 130

    def __init__(self, checkpoint: Path, *, by_hand: bool) -> None:
        super().__init__(f"stopped and saved {checkpoint}. Run the same command to go on.")
        self.checkpoint = checkpoint
        self.exit_code = 130 if by_hand else 124


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGUSR1 in a list; a second SIGINT stops at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, note) for number in watched}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
