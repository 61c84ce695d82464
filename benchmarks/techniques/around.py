"""Techniques around forward and backward: optimizer, compiler, threads, decoding processes."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from typing import Any

import torch
from techniques.bench import Bench, Found, Pair, Technique

from hocket.data.augment import USUAL_RATE, Augmenter
from hocket.data.loader import Loader, StepShape
from hocket.data.mixture import Mixture, open_source
from hocket.model.documents import attend_alone, attend_together
from hocket.train.heap import keep_freed_memory
from hocket.train.parallel.blocks import compile_blocks


def adamw(bench: Bench, **off: bool) -> Pair:
    """Compare fused AdamW with another of torch's, over the decoder layers."""
    bench.train("language")
    layers = bench.model.model.language_model.layers
    bench.step(bench.packed)

    def by(**kind: bool) -> Any:
        own = [value.detach().clone() for value in layers.parameters()]
        for copy, value in zip(own, layers.parameters(), strict=True):
            copy.grad = value.grad
        optimizer = torch.optim.AdamW(own, lr=1e-4, betas=(0.9, 0.98), **kind)

        def step() -> Found:
            optimizer.step()
            # Copies: the weights that are compared are those of this step.
            return {str(at): one.clone() for at, one in enumerate(own[:4])}

        return step

    return Pair(by(fused=True), by(**off))


def compiled(bench: Bench) -> Pair:
    """Compare compiled blocks, whose attention needs the mask, with hocket's usual step."""
    bench.train("*")
    compile_blocks(bench.model)
    spent: list[float] = []

    def fast() -> Found:
        began = time.perf_counter()
        attend_together(bench.model)
        try:
            return bench.step(bench.packed)
        finally:
            attend_alone(bench.model)
            spent.append(time.perf_counter() - began)

    def plain() -> Found:
        with torch.compiler.set_stance("force_eager"):
            return bench.step(bench.packed)

    return Pair(fast, plain, lambda: f"the first step took {spent[0]:.0f} s")


def two_threads(bench: Bench) -> Pair | None:
    """Compare two threads with one."""
    if len(os.sched_getaffinity(0)) < 2:
        return None
    bench.train("*")
    before = torch.get_num_threads()

    def by(threads: int) -> Found:
        torch.set_num_threads(threads)
        try:
            return bench.step(bench.packed)
        finally:
            torch.set_num_threads(before)

    return Pair(lambda: by(2), lambda: by(1), clock=True)


def freed_memory(bench: Bench) -> Pair | None:
    """Compare memory that stays with the process with memory that goes back to the kernel."""
    if not keep_freed_memory():
        return None
    bench.train("*")
    libc = ctypes.CDLL(None)

    def kept() -> Found:
        keep_freed_memory()
        return bench.step(bench.packed)

    def given_back() -> Found:
        # What glibc arrives at by itself when blocks are large.
        libc.mallopt(-3, 32 * 2**20)
        libc.mallopt(-1, 64 * 2**20)
        return bench.step(bench.packed)

    return Pair(kept, given_back)


def workers(bench: Bench, count: int) -> Pair:
    """Compare processes that decode with decoding between the steps."""
    bench.train("connector")
    mixture = Mixture({"rows": (open_source("rows", bench.data), 1.0)}, seed=0)
    shape = StepShape(rows=1, tokens_per_row=bench.packed["input_ids"].numel(), pool=8)
    waits: dict[int, list[float]] = {0: [], count: []}

    def by(number: int) -> Any:
        augmenter = Augmenter({}, seed=0, rate=USUAL_RATE)
        loader = Loader(mixture, bench.processor, shape=shape, augmenter=augmenter, workers=number)
        batches: Iterator[Any] = iter(loader)

        def step() -> Found:
            began = time.perf_counter()
            batch = next(batches).micro[0]
            waits[number].append(time.perf_counter() - began)
            return bench.step(batch)

        return step

    def waited() -> str:
        one, none = (1e3 * min(waits[number]) for number in (count, 0))
        return f"waits {one:.0f} ms for a batch, {none:.0f} ms without"

    return Pair(by(count), by(0), waited, clock=True)


OPTIMIZER = "tests/train/test_optim.py"
ORDER = "tests/data/test_loader.py"
TECHNIQUES = (
    Technique(
        "AdamW fused, not foreach",
        "kept",
        "one pass over the weights",
        lambda bench: adamw(bench, foreach=True),
        tests=OPTIMIZER,
    ),
    Technique(
        "AdamW fused, not a loop of operators",
        "kept",
        "the same",
        lambda bench: adamw(bench, foreach=False),
        tests=OPTIMIZER,
    ),
    Technique(
        "freed memory stays with the process",
        "kept",
        "the kernel does not clear its pages for every step",
        freed_memory,
        tests="tests/train/test_heap.py",
    ),
    Technique(
        "1 process decodes beside training",
        "option",
        "`train.workers`; pays with a free core",
        lambda bench: workers(bench, 1),
        tests=ORDER,
    ),
    Technique(
        "2 processes decode",
        "option",
        "`train.workers`; for slow media",
        lambda bench: workers(bench, 2),
        tests=ORDER,
    ),
    Technique(
        "2 threads, not 1",
        "option",
        "torch takes one for each core; slower where other programs want the cores",
        two_threads,
    ),
    Technique(
        "compiled blocks",
        "option",
        "`train.compile_blocks`; here it needs the mask, which costs more",
        compiled,
        exact=False,
        tests="tests/train/parallel/test_compile.py",
    ),
)
