"""Plain cross entropy of an output head with both gradients made in the forward pass.

The gradient of the cross entropy is the softmax less the target, so once the logits of a chunk are
there they are turned into their own gradient in place: one (N, V) buffer instead of four, no pass
over it in the backward pass, and nothing computed twice where a step has several chunks.

Letters: N supervised positions, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor


def takes(head: nn.Module) -> bool:
    """Whether a head is a plain matrix of a process alone: no adapter, bias, share or hook."""
    # Not proven with weights in shares, or rows that several processes hold.
    if dist.is_available() and dist.is_initialized():
        return False
    # FSDP and adapters make a class of their own of what they take over.
    if type(head) is not nn.Linear or len(list(head.parameters())) != 1:
        return False
    return not (isinstance(head.weight, DTensor) or head._forward_hooks or head._forward_pre_hooks)


def linear_loss(
    states: Tensor, head: nn.Module, goals: Tensor, weights: Tensor, *, chunk: int
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of cross entropies, (), and each of them, (N), in float32.

    Args:
        states: (N, D).
        head: one that `takes` agrees to.
        goals: int64 (N,).
        weights: (N,), how much each counts.
        chunk: positions whose logits are in memory at a time.
    """
    found: tuple[Tensor, Tensor] = LinearLoss.apply(  # type: ignore[no-untyped-call] # torch's own
        states, head.weight, goals, weights, chunk
    )
    return found


class LinearLoss(torch.autograd.Function):
    """Weighted sum of cross entropies (), and each of them (N), in float32."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, matrix: Tensor, goals: Tensor, weights: Tensor, chunk: int
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of states (N, D) under a head (V, D); `chunk` positions at a time."""
        learns_states, learns_matrix = ctx.needs_input_grad[:2]
        for_states = torch.empty_like(states) if learns_states else None
        for_matrix = torch.zeros_like(matrix) if learns_matrix else None
        each = states.new_empty(len(states), dtype=torch.float32)
        for at in range(0, len(states), chunk):
            part = slice(at, at + chunk)
            raw = nn.functional.linear(states[part], matrix)
            logits = raw.float()
            goal = goals[part, None]
            target = logits.gather(1, goal)
            most = logits.amax(dim=1, keepdim=True)
            total = logits.sub_(most).exp_().sum(dim=1, keepdim=True)
            each[part] = (total.log() - (target - most))[:, 0]
            if not (learns_states or learns_matrix):
                continue
            scale = weights[part, None].float()
            logits.mul_(scale / total).scatter_add_(1, goal, -scale)
            pull = logits.to(raw.dtype)
            if for_states is not None:
                for_states[part] = pull @ matrix.to(raw.dtype)
            if for_matrix is not None:
                _add_product(for_matrix, pull, states[part].to(raw.dtype))
        ctx.save_for_backward(for_states, for_matrix)
        ctx.mark_non_differentiable(each)
        return (each * weights).sum(), each

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients that are there already."""
        found = (None if one is None else one * loss.to(one.dtype) for one in ctx.saved_tensors)
        return *found, None, None, None


def _add_product(total: Tensor, pull: Tensor, states: Tensor) -> None:
    """Add (V, N) by (N, D) to (V, D), without a copy where the types are the same."""
    if total.dtype == pull.dtype:
        total.addmm_(pull.mT, states)
    else:
        total.add_(pull.mT @ states)
