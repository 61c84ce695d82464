"""Memory of batches that are gone, for the batches that follow.

The kernel clears every page that it hands out, which takes as long as filling it does, and a batch
of pictures needs tens of megabytes. Its memory is taken again as soon as nothing refers to it: no
tensor of the batch and no view of one.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

KEPT = 4
"""How much memory is kept, counted in batches."""

# Less than this the allocator keeps by itself.
_LEAST_BYTES = 2**20


class SpareMemory:
    """Hands out memory and takes it back when its tensors are gone."""

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def like(self, units: int, one: Tensor) -> Tensor:
        """Return an uninitialised tensor (units, ...) of the type and the shape of the units given.

        Args:
            units: how many it holds.
            one: (U, ...) units of the same kind.
        """
        shape = (units, *one.shape[1:])
        size = math.prod(shape) * one.element_size()
        # Cut by torch, which keeps hold of the very array: a view of numpy's keeps what is below.
        return torch.from_numpy(self._bytes(size))[:size].view(one.dtype).view(shape)

    def _bytes(self, size: int) -> np.ndarray:
        # numpy asks for huge pages where it is worth it. Pages that nobody fills take no memory, so
        # there is room for the batches that will be larger than this one.
        if size < _LEAST_BYTES:
            return np.empty(size, np.uint8)
        room = 1 << (size - 1).bit_length()
        fitting = [one for one in self._free if size <= len(one) <= 4 * room]
        memory = min(fitting, key=len) if fitting else np.empty(room, np.uint8)
        self._free = [one for one in self._free if one is not memory]
        lent = np.frombuffer(memory, np.uint8)
        weakref.finalize(lent, self._take_back, memory).atexit = False
        return lent

    def _take_back(self, memory: np.ndarray) -> None:
        self._free = [*self._free[1 - KEPT :], memory]

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: another process has memory of its own."""
        return {"_free": []}
