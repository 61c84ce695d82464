"""One function over many numbers, in this process or in several that end when it does.

Knows processes only.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar, cast

from hocket._errors import MachineError

Context = TypeVar("Context")
Result = TypeVar("Result")

_LOOK_SECONDS = 1.0


def in_processes(
    work: Callable[[Context, int], Result],
    context: Context,
    numbers: Sequence[int],
    *,
    processes: int = 1,
) -> Iterator[tuple[int, Result]]:
    """Yield each number and ``work(context, number)``, as they are done.

    The processes leave Ctrl-C to this one, and end by themselves when it is gone, however it
    ended. An error of one number stops all.

    Args:
        work: a function of a module; its errors come through.
        context: what all numbers share; sent to each process once.
        numbers: what there is to do.
        processes: how many at the same time; 1 works in this process.

    Raises:
        MachineError: a process was killed.
    """
    if processes <= 1 or len(numbers) <= 1:
        for number in numbers:
            yield number, work(context, number)
        return
    pool = ProcessPoolExecutor(
        min(processes, len(numbers)),
        # A fork would copy the threads of a progress bar half way.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(work, context, os.getpid()),
    )
    try:
        with _ctrl_c_later():
            futures = {pool.submit(_call, number): number for number in numbers}
        for future in as_completed(futures):
            yield futures[future], cast(Result, future.result())
    except BrokenExecutor as error:
        pool.shutdown(wait=True, cancel_futures=True)
        raise MachineError(
            "a process that looked at rows was killed, as the system does when memory runs out. "
            "Take fewer processes with -j 1, or free memory, and run the command again."
        ) from error
    except BaseException:
        for process in [*pool._processes.values()]:  # there is no public way to stop a running one
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Keep Ctrl-C back while processes start: they inherit that, and import for seconds."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# What a process of the pool does, all its life.
_task: list[Callable[[int], object]] = []


def _start(work: Callable[[Context, int], object], context: Context, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _task.append(functools.partial(work, context))


def _call(number: int) -> object:
    return _task[0](number)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)
