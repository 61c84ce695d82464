"""Positions that neighbouring visual tokens share: VITA's ``shared_v_pid_stride``.

In every unbroken run of placeholders of pictures and videos so many tokens stand at one position;
the last position of a run may have fewer. Text behind a run goes on at the next one, in an answer
that is generated step by step too.

Letters: B rows of a batch, T tokens, N tokens of one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers.cache_utils import Cache


def shared_positions(visual: Tensor, starts: Tensor, real: Tensor, *, stride: int) -> Tensor:
    """Return int64 (B, T) positions, 0 where there is no token.

    Args:
        visual: bool (B, T), placeholders of pictures and videos.
        starts: bool (B, T), first tokens of packed examples, at which counting begins again.
        real: bool (B, T), tokens that are not padding.
        stride: tokens that share a position.
    """
    places = torch.arange(visual.shape[1], device=visual.device).expand_as(visual)
    before = torch.cat([torch.zeros_like(visual[:, :1]), visual[:, :-1]], dim=1)
    run = torch.where(visual & (~before | starts), places, 0).cummax(dim=1).values
    steps = (~visual | ((places - run) % stride == 0)) & real
    counted = steps.long().cumsum(dim=1) - 1
    own = torch.where(starts, places, 0).cummax(dim=1).values
    first = counted.gather(1, own).clamp(min=0)
    return (counted - first).clamp(min=0) * real


def packed_mask(starts: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (B, 1, T, T), added to scores: each token sees its own example up to itself.

    Transformers knows packed examples by positions that do not go on by one; shared ones never do.
    """
    example = starts.long().cumsum(dim=1)
    seen = (example[:, :, None] == example[:, None, :]).tril()[:, None]
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


class SharedPositions:
    """Turns a batch's positions into shared ones.

    Args:
        stride: visual tokens that share a position.
        tokens: ids of the placeholders of pictures and videos.
    """

    def __init__(self, stride: int, tokens: Sequence[int]) -> None:
        self._stride = stride
        self._tokens = tuple(tokens)
        # How far a generation's positions are behind its number of tokens, (B, 1).
        self._behind: WeakKeyDictionary[Cache, Tensor] = WeakKeyDictionary()

    def share(
        self,
        ids: Tensor,
        mask: Tensor | None,
        positions: Tensor | None,
        cache: Cache | None,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Return the positions and the attention mask of the language model.

        Args:
            ids: int64 (B, N).
            mask: int64 (B, T) tokens that are not padding; None for packed or whole rows.
            positions: int64 (B, N) as counted one by one; None to count them.
            cache: the key-value cache of a generation, with what came before.
            dtype: of the scores.
        """
        done = 0 if cache is None else cache.get_seq_length()
        if cache is not None and done and cache in self._behind:
            if mask is None:
                mask = ids.new_ones(len(ids), done + ids.shape[1])
            if positions is None:
                positions = (mask.cumsum(dim=1) - 1)[:, -ids.shape[1] :]
            return positions - self._behind[cache], mask
        real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
        starts = torch.zeros_like(real)
        if mask is None and positions is not None:
            starts = positions == 0
        starts[:, 0] = True
        visual = torch.zeros_like(real)
        for token in self._tokens:
            visual |= ids == token
        shared = shared_positions(visual, starts, real, stride=self._stride)
        if cache is not None:
            self._behind[cache] = real.sum(dim=1, keepdim=True) - 1 - shared[:, -1:]
        if mask is None:
            mask = packed_mask(starts, dtype)
        return shared, mask
