"""Runs a function in several processes that meet over gloo, as torchrun starts them.

The processes are forked from one that has torch and hocket loaded and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist

SECONDS = 150


def together(world: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Return what the function returns in each process; one that fails or hangs ends them all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.together", "tests.toy", "tests.train.toy_run"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ends, processes = [], []
    for rank in range(world):
        here, there = context.Pipe()
        process = context.Process(target=_one, args=(there, rank, world, port, function, args))
        process.start()
        there.close()
        ends.append(here)
        processes.append(process)
    try:
        results = [_received(end) for end in ends]
    finally:
        for process in processes:
            process.kill()
            process.join()
    return results


def _received(end: Connection) -> Any:
    assert end.poll(SECONDS), "a process hangs"
    good, value = end.recv()
    assert good, value
    return value


def _one(
    end: Connection,
    rank: int,
    world: int,
    port: int,
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", timeout=timedelta(seconds=60))
        end.send((True, function(*args)))
    except BaseException:  # whatever it is, the test is to show it
        end.send((False, f"process {rank}:\n{traceback.format_exc()}"))
    # Leaving while others still wait for this process would look like an error of theirs; the pipe
    # closes, or this process is ended, when all have answered.
    end.poll(SECONDS)
