"""Next-token loss at the supervised positions only.

Letters: B rows, T tokens, D width, V vocabulary, N supervised positions.

About half of the positions of a multimodal batch are prompts and media; their logits are never
needed. The head therefore runs on the (N, D) supervised states, in chunks whose logits are thrown
away and computed again in the backward pass, so that no (T, V) tensor exists.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hocket.tokens.batch import IGNORED

CHUNK = 2048


def supervised_loss(
    hidden: Tensor, labels: Tensor, head: nn.Module, num_items: Tensor | int | None
) -> Tensor:
    """Return the summed cross entropy divided by `num_items`.

    Args:
        hidden: (B, T, D) states of the language model.
        labels: int64 (B, T), -100 where nothing is learned.
        head: maps (N, D) to (N, V).
        num_items: supervised tokens of the whole global step; None divides by those of this batch.
    """
    target = labels[:, 1:]
    wanted = target != IGNORED
    states, goals = hidden[:, :-1][wanted], target[wanted]
    total = hidden.new_zeros((), dtype=torch.float32)
    for state, goal in zip(torch.split(states, CHUNK), torch.split(goals, CHUNK), strict=True):
        if len(states) <= CHUNK:
            total = total + _chunk_loss(state, goal, head)
        else:
            total = total + checkpoint(_chunk_loss, state, goal, head, use_reentrant=False)
    if len(states) == 0:
        total = total + 0.0 * hidden.sum()
    count = len(goals) if num_items is None else num_items
    return total / max(count, 1) if isinstance(count, int) else total / count.clamp(min=1)


def _chunk_loss(states: Tensor, goals: Tensor, head: nn.Module) -> Tensor:
    """Return the summed cross entropy of one chunk in float32."""
    return nn.functional.cross_entropy(head(states).float(), goals, reduction="sum")
