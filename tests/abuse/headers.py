"""Damaged files of weights: their headers lie about names, types, shapes and places."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from tests.abuse.mutate import mutated
from tests.abuse.suite import Case, Expected, Size, Suite
from torch import Tensor

from hocket.checkpoint.import_.weights import open_file

_MOST_BYTES = 2**20  # of all tensors: a file of 2 KB holds no more, whatever it says


def _seeds() -> list[bytes]:
    return [
        save({"a.weight": np.ones((4, 8), np.float32), "a.bias": np.zeros(4, np.float32)}),
        save({"x": np.arange(200, dtype=np.int64)}, metadata={"format": "pt"}),
        save({f"layers.{n}.w": np.full((2, 3, 5), n, np.float16) for n in range(8)}),
        save({"empty": np.zeros((0, 7), np.uint8), "one": np.array(1.0)}),
    ]


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield whole files, then damaged ones; those whose damage is in the numbers alone open."""
    seeds = _seeds()
    file = folder / "model.safetensors"
    for number, data in enumerate(seeds):
        yield Case(f"whole {number}", partial(_opened, file, data), Expected.ANSWERED)
    for number in range(count - len(seeds)):
        data = mutated(seeds[number % len(seeds)], seeds, number)
        yield Case(f"damage {number}", partial(_opened, file, data), Expected.EITHER)


def _opened(file: Path, data: bytes) -> int:
    file.write_bytes(data)
    size = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(file))
    assert size <= max(_MOST_BYTES, len(data))
    return size


def _tensors(file: Path) -> Iterator[Tensor]:
    for item in open_file(file).values():
        yield item.read()


SUITE = Suite(
    name="weight headers",
    tries="safetensors files whose headers were damaged: lengths, names, types, shapes, offsets",
    means="the tensors of the file, or an error that names it; no more memory than the file has",
    counts={Size.CI: 2000, Size.NIGHTLY: 20_000},
    cases=cases,
)
