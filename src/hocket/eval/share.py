"""A sweep shared by processes of this machine: each asks its shard, then the scores are made once.

Knows sweeps and processes; must not know exams.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import SpawnProcess
from typing import Any

import torch

from hocket._errors import MachineError
from hocket.eval.run import Shard
from hocket.eval.sweep import Observer, Outcome, Plan, run_sweep

_POLL_SECONDS = 0.2


def run_shared(
    plan: Plan, count: int, watch: Observer, prepare: Callable[[], None]
) -> list[Outcome]:
    """Do what `run_sweep` does with several processes.

    Args:
        plan: who is asked what; its shard is divided further.
        count: processes.
        watch: told of the answers of all.
        prepare: called first in each process; a function of a module.
    """
    context = multiprocessing.get_context("spawn")
    news = context.Queue()
    workers = [
        context.Process(target=_work, args=(_share(plan, number, count), news, prepare))
        for number in range(count)
    ]
    try:
        for worker in workers:
            worker.start()
        heard = _listen(workers, news, watch)
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
            worker.join()
    outcomes = run_sweep(replace(plan, collect=not plan.rescore), Unheard())
    told = [_told(one, heard) for one in outcomes]
    for one in told:
        watch.end(one)
    return told


def _told(outcome: Outcome, failures: dict[tuple[str, str], Outcome]) -> Outcome:
    """Return an outcome with the reason why a process did not do its share."""
    failure = failures.get((outcome.model, outcome.exam)) or failures.get(("", ""))
    if outcome.scores is not None or failure is None:
        return replace(outcome, skipped=False)
    return replace(outcome, error=failure.error, error_code=failure.error_code)


def _share(plan: Plan, number: int, count: int) -> Plan:
    shard = Shard(plan.shard.number * count + number, plan.shard.count * count)
    placement = plan.placement
    gpus = torch.cuda.device_count()
    if placement.device == "cuda" and gpus > 1:
        placement = replace(placement, device=f"cuda:{number % gpus}")
    return replace(plan, shard=shard, placement=placement)


def _work(plan: Plan, news: multiprocessing.Queue[Any], prepare: Callable[[], None]) -> None:
    prepare()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // plan.shard.count))
    run_sweep(plan, _Teller(news))


def _listen(
    workers: list[SpawnProcess], news: multiprocessing.Queue[Any], watch: Observer
) -> dict[tuple[str, str], Outcome]:
    """Pass on what processes tell until all have ended; return what went wrong."""
    failures: dict[tuple[str, str], Outcome] = {}
    while True:
        alive = any(worker.is_alive() for worker in workers)
        try:
            what, *rest = news.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if not alive:
                break
            continue
        if what == "end":
            failures[rest[0].model, rest[0].exam] = rest[0]
        elif what == "begin":
            watch.begin(rest[0], total=rest[1], done=rest[2])
        elif what == "advance":
            watch.advance()
        else:
            watch.model(rest[0])
    for number, worker in enumerate(workers):
        if worker.exitcode:
            failures["", ""] = Outcome(
                model="",
                exam="",
                error=f"process {number + 1} of {len(workers)} ended with code {worker.exitcode}. "
                "Run the same command again: what is answered is kept.",
                error_code=MachineError.exit_code,
            )
    return failures


class Unheard:
    """Nobody is told."""

    def model(self, name: str) -> None:
        """Do nothing."""

    def begin(self, what: str, *, total: int, done: int) -> None:
        """Do nothing."""

    def advance(self) -> None:
        """Do nothing."""

    def end(self, outcome: Outcome) -> None:
        """Do nothing."""


class _Teller(Unheard):
    """Tells another process."""

    def __init__(self, news: multiprocessing.Queue[Any]) -> None:
        self._news = news

    def model(self, name: str) -> None:
        self._news.put(("model", name))

    def begin(self, what: str, *, total: int, done: int) -> None:
        self._news.put(("begin", what, total, done))

    def advance(self) -> None:
        self._news.put(("advance",))

    def end(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._news.put(("end", outcome))
