"""Exchanges between processes that gradients flow through.

torch.distributed.nn.functional has the same with a deprecation warning, and names private functions
as its successors.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


def exchange(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Send the i-th slice of dim 0 to process i; return what the processes sent, in their order."""
    return _Exchange.apply(x, group)  # type: ignore[no-untyped-call] # torch ships no type for it


def add_up(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Return the sum over the processes; each one's gradient is the sum of all their gradients."""
    return _AddUp.apply(x, group)  # type: ignore[no-untyped-call] # torch ships no type for it


def show_sum(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Return the sum over the processes; the gradient of each is that of its own summand."""
    return _ShowSum.apply(x, group)  # type: ignore[no-untyped-call] # torch ships no type for it


class _Exchange(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _exchanged(x, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _exchanged(grads[0], ctx.group), None


class _AddUp(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _summed(x, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _summed(grads[0], ctx.group), None


class _ShowSum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        return _summed(x, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0], None


def _exchanged(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    x = x.contiguous()
    received = torch.empty_like(x)
    dist.all_to_all_single(received, x, group=group)
    return received


def _summed(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total
