"""Items made by loading processes, of which one may die or fall silent.

Knows torch's `DataLoader`; must not know what is loaded.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from torch.utils.data import DataLoader, Dataset, Sampler

from hocket._errors import MachineError

SILENT_SECONDS = 1800.0
"""How long loading processes may send nothing: one whose item finds no room in shared memory would
be waited for without end."""

_LOOK_SECONDS = 5.0
_TIMED_OUT = "DataLoader timed out"

Item = TypeVar("Item", covariant=True)


def loaded(
    work: Dataset[Item],
    order: Sampler[object] | Iterable[object] | None = None,
    *,
    workers: int,
    at_start: Callable[[int], None] | None = None,
) -> Iterator[Item]:
    """Yield items; that a loading process is gone or silent comes up here alone.

    torch has a signal for that, whose error would come up in whatever this process does then. What
    was there before is put back, and torch looks after its processes whenever none has an answer.

    Args:
        work: makes the items.
        order: what is asked for, in order; None means all.
        workers: processes; 0 loads in this one.
        at_start: called with its number in each process.

    Raises:
        MachineError: one died, or sent nothing for `SILENT_SECONDS`.
    """
    look_seconds = min(_LOOK_SECONDS, SILENT_SECONDS) if workers else 0.0
    before = signal.getsignal(signal.SIGCHLD)
    items = iter(
        DataLoader(
            work,
            batch_size=None,
            sampler=order,
            num_workers=workers,
            worker_init_fn=at_start,
            timeout=look_seconds,
        )
    )
    if workers and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)
    silent_seconds, found = 0.0, ""
    while not found:
        try:
            item = next(items)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as error:
            # What a worker itself raises begins with "Caught", and is a fault to be seen whole.
            told = str(error) or type(error).__name__
            if not workers or told.startswith("Caught "):
                raise
            silent_seconds += look_seconds if told.startswith(_TIMED_OUT) else SILENT_SECONDS
            found = told if silent_seconds >= SILENT_SECONDS else ""
            continue
        silent_seconds = 0.0
        yield item
    # Behind the `except`: nothing may hold on to the processes, which would complain again.
    del items
    raise MachineError(
        f"a process that loads data is gone or silent ({found.strip()}). Most often the memory "
        "is full: look at free -g and df -h /dev/shm, and lower train.workers or give more "
        "(docker: --shm-size). The same command goes on where the last one stopped."
    )
