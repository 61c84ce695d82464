"""Ends a run in which no step finishes, and says where every process stood.

One process that waits for another that never comes would hold its machines until the scheduler's
limit. A thread therefore looks at the clock; when a step takes too long it writes the stacks of all
threads into the run's folder and ends the process, which ends the others.
"""

from __future__ import annotations

import faulthandler
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hocket._log import warn

EXIT_CODE = 86
"""What a process returns that the watchdog has ended; a launcher may start the run again."""


class Watchdog:
    """Watches the steps of one process.

    Args:
        folder: where ``stalled.RANK.txt`` is written.
        rank: number of this process.
        seconds: longest time for a step, data and saving included.
        end: ends the process with a code; tests put their own in its place.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rank: int,
        seconds: float,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._folder, self._rank, self._seconds, self._end = folder, rank, seconds, end
        self._since = time.monotonic()
        self._step, self._phase = 0, "starting"
        self._samples: Sequence[str] = ()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def begin(self, step: int) -> None:
        """Say that a step begins; the clock starts anew."""
        self._step, self._samples, self._phase = step, (), "waiting for data"
        self._since = time.monotonic()

    def have(self, samples: Sequence[str]) -> None:
        """Say which samples the step has; from the first ones on the thread watches."""
        self._samples, self._phase = samples, "working on the batch"
        if self._thread is None:
            # Not before: the data's workers are forked while there is no other thread.
            self._over.clear()
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()

    def note(self, phase: str) -> None:
        """Say what the process does now."""
        self._phase = phase

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self) -> None:
        left = self._seconds
        while not self._over.wait(max(left, 0.01)):
            left = self._since + self._seconds - time.monotonic()
            if left <= 0:
                self._bark()
                return

    def _bark(self) -> None:
        names = ", ".join(itertools.islice(self._samples, 5)) or "none yet"
        text = (
            f"rank {self._rank}: step {self._step} has not finished in {self._seconds:g} s. "
            f"Last phase: {self._phase}. Samples: {names}"
        )
        file = self._folder / f"stalled.{self._rank}.txt"
        try:
            with file.open("w", encoding="utf-8") as stream:
                stream.write(text + "\n\n")
                stream.flush()
                faulthandler.dump_traceback(stream, all_threads=True)
        except OSError as error:
            warn(f"{file}: cannot be written: {error}")
        warn(f"{text}. Stacks: {file}. Exit code {EXIT_CODE}; start again to go on.")
        self._end(EXIT_CODE)
