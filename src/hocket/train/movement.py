"""Finds parameters that ought to train and do not move, such as those that no data reaches."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hocket._log import warn
from hocket.train.loop import Report
from hocket.train.parallel.fsdp import gathered
from hocket.train.state import TrainState
from hocket.train.trainable import Trainable

_WORD = 8


class MovementWatch:
    """A hook that reports once what has not moved some steps after a stage or a resume began.

    Args:
        model: the model that trains.
        chosen: its trainable groups.
        steps: of the stage; behind the last one it looks in any case.
        after_steps: steps until it looks; 0 never does.
    """

    def __init__(
        self, model: nn.Module, chosen: list[Trainable], steps: int, after_steps: int
    ) -> None:
        self._model = model
        self._last = steps
        self._groups = {one.name: (*one.decayed, *one.plain) for one in chosen}
        self._left = after_steps
        self._before = self._sums() if after_steps else {}

    def __call__(self, state: TrainState, report: Report) -> None:
        """Count a step; look when it is time."""
        self._left -= 1
        if self._left < 0 or (self._left > 0 and state.step < self._last):
            return
        self._left = 0
        now = self._sums()
        for group, names in self._groups.items():
            still = [name for name in names if torch.equal(self._before[name], now[name])]
            if still:
                warn(
                    f"{len(still)} of {len(names)} parameters of the group {group!r} have not "
                    f"moved by step {state.step}, such as {still[0]}: no sample reaches them, or "
                    "their learning rate is too small."
                )

    def _sums(self) -> Mapping[str, Tensor]:
        """Return the sums of each parameter, int64 (2,); equal ones have not moved."""
        values = dict(self._model.named_parameters())
        with torch.no_grad():
            return {
                name: _sum(gathered(values[name].detach()))
                for names in self._groups.values()
                for name in names
            }


def _sum(value: Tensor) -> Tensor:
    """Return the sum of a tensor's bits and its norm, int64 (2,).

    Bits are added up in whole words, which is much cheaper than to add up in float64; the norm is
    there for changes that cancel out.
    """
    bits = value.contiguous().view(-1).view(torch.uint8)
    if bits.storage_offset() % _WORD:
        bits = bits.clone()
    whole = len(bits) // _WORD * _WORD
    total = bits[:whole].view(torch.int64).sum() + bits[whole:].sum()
    norm = torch.linalg.vector_norm(value.float()).double().view(torch.int64)
    return torch.stack([total, norm])
