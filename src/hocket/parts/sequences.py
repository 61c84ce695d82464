"""The units of a medium joined to one sequence: for parts that look across the edges of units.

A long sound is several encoder units. `Places` says where each real position of each unit lies in
the sequence of its medium; padding lies nowhere.

Letters: U units, P positions of a unit, S media (spans), T positions of the longest sequence,
N real positions over all units, C width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Places(NamedTuple):
    """Where N real positions lie, on the device of the features.

    Attributes:
        source: int64 (N,) indices into the U * P positions of all units.
        target: int64 (N,) indices into the S * T positions of all sequences.
        units: U and P.
        sequences: S and T.
    """

    source: Tensor
    target: Tensor
    units: tuple[int, int]
    sequences: tuple[int, int]

    def join(self, x: Tensor) -> Tensor:
        """Turn (U, P, C) into (S, T, C); what no unit fills is zero."""
        count, longest = self.sequences
        joined = x.new_zeros(count * longest, x.shape[-1])
        joined = joined.index_copy(0, self.target, x.flatten(0, 1)[self.source])
        return joined.unflatten(0, (count, longest))

    def split(self, x: Tensor) -> Tensor:
        """Turn (S, T, C) into (U, P, C); padding is zero."""
        parts = x.new_zeros(self.units[0] * self.units[1], x.shape[-1])
        parts = parts.index_copy(0, self.source, x.flatten(0, 1)[self.target])
        return parts.unflatten(0, self.units)

    def real(self) -> Tensor:
        """Return bool (S, T): the places that a unit fills."""
        count, longest = self.sequences
        filled = torch.zeros(count * longest, dtype=torch.bool, device=self.target.device)
        return filled.index_fill(0, self.target, True).unflatten(0, (count, longest))


def places_of(
    x: Tensor, *, spans: Tensor | None, lengths: Tensor | None, multiple: int = 1
) -> Places:
    """Return where the positions of units (U, P, ...) lie.

    Args:
        x: the units, for their shape and device.
        spans: int64 (S, 7), of which the first column counts units; None when every unit is a
            medium of its own.
        lengths: int64 (U,) real positions of each unit; None when all are.
        multiple: a unit begins at a multiple of so many positions of its sequence.
    """
    units, positions = x.shape[:2]
    real = torch.full((units,), positions) if lengths is None else lengths.cpu()
    counts = torch.ones(units, dtype=torch.int64) if spans is None else spans[:, 0].cpu()
    owner = torch.repeat_interleave(torch.arange(len(counts)), counts)
    taken = (real + multiple - 1) // multiple * multiple
    totals = torch.zeros(len(counts), dtype=torch.int64).index_add(0, owner, taken)
    starts = taken.cumsum(0) - taken - (totals.cumsum(0) - totals)[owner]
    longest = int(totals.max()) if len(totals) else 0
    unit = torch.repeat_interleave(torch.arange(units), real)
    position = torch.arange(len(unit)) - (real.cumsum(0) - real)[unit]
    source = unit * positions + position
    target = (owner * longest + starts)[unit] + position
    return Places(
        source.to(x.device), target.to(x.device), (units, positions), (len(counts), longest)
    )


def rows_of(counts: Tensor, longest: int) -> Tensor:
    """Return bool (S, T) that is true for the first `counts` (S,) places of each sequence."""
    return torch.arange(longest, device=counts.device) < counts[:, None]
