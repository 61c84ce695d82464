"""Freed memory stays with a process that trains on a CPU."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from hocket._env import for_child

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc can be told what to keep"
)

# Faults are pages that the kernel had to clear; blocks are larger than glibc's own limit.
BLOCKS = """
import resource
import sys
import torch
from hocket.train.heap import keep_freed_memory
from hocket.train.runtime import Runtime
if sys.argv[1] == "kept":
    assert Runtime().device.type == "cpu"
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(12 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
# Small blocks come to lie between large ones, until there is room for both.
for _ in range(30):
    faults()
print(sum(faults() for _ in range(5)), keep_freed_memory())
"""


def clear(way: str, **extra: str) -> tuple[int, bool]:
    """Return how many pages the kernel clears for five blocks, and whether glibc can be told."""
    command = [sys.executable, "-c", BLOCKS, way]
    environment = for_child({"CUDA_VISIBLE_DEVICES": "", **extra})
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    count, told = done.stdout.split()
    return int(count), told == "True"


def test_a_run_on_a_cpu_takes_its_memory_from_the_kernel_once() -> None:
    given_back, told = clear("given back")
    assert told
    kept, _ = clear("kept")
    assert kept * 10 < given_back


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"])
def test_who_has_set_up_glibc_is_not_overruled(name: str) -> None:
    count, told = clear("kept", **{name: "65536"})
    assert not told
    assert count > 0
