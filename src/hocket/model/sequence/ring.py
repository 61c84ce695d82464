"""Ring attention: each process keeps its queries, keys and values go round.

A process's tokens are one or two runs of neighbouring places. Pairs of runs in which no query sees
a key cost nothing: half of the work of a causal mask, and with zigzag the same for all processes.
The backward pass sends the keys round again, and their gradients with them.

Letters: B rows, H query heads, K key heads, N tokens of one process, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from hocket.model.sequence import RingKind
from hocket.model.sequence.block import Partial, attend, attend_backward, merge
from hocket.model.sequence.group import Shard


def ring_attention(
    q: Tensor, k: Tensor, v: Tensor, shard: Shard, *, scale: float, window: int
) -> Tensor:
    """Return the attention of (B, H, N, D) to the keys (B, K, N, D) of all processes of the ring.

    Args:
        q: queries held here.
        k: keys held here.
        v: values held here.
        shard: which tokens are held where.
        scale: factor of the scores.
        window: how many tokens back are seen; 0 for all.
    """
    return _Ring.apply(q, k, v, _Round(shard, scale, window))  # type: ignore[no-untyped-call] # torch ships no type for it


@dataclass(frozen=True, slots=True)
class _Round:
    """What one way round the ring needs."""

    shard: Shard
    scale: float
    window: int

    def blocks(self, owner: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield slices of queries and of `owner`'s keys with their mask, where any is seen."""
        mine = self.shard.places_of(self.shard.group.mesh.get_local_rank("ring"))
        theirs = self.shard.places_of(owner)
        runs = 2 if self.shard.group.spec.ring_kind is RingKind.ZIGZAG else 1
        size = len(mine) // runs
        cuts = [slice(at * size, (at + 1) * size) for at in range(runs)]
        for queries in cuts:
            for keys in cuts:
                if int(mine[queries][-1]) < int(theirs[keys][0]):
                    continue
                mask = self.shard.seen(mine[queries], theirs[keys], self.window)
                if bool(mask.any()):
                    yield queries, keys, mask


class _Ring(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, way: _Round) -> Tensor:
        exact = torch.promote_types(q.dtype, torch.float32)
        whole = Partial(
            torch.zeros_like(q, dtype=exact),
            torch.full(q.shape[:3], float("-inf"), dtype=exact, device=q.device),
        )
        for owner, (key, value) in _going_round(torch.stack([k, v]), way):
            for queries, keys, mask in way.blocks(owner):
                part = attend(q[:, :, queries], key[:, :, keys], value[:, :, keys], mask, way.scale)
                sofar = Partial(whole.out[:, :, queries], whole.lse[:, :, queries])
                both = merge(sofar, part)
                whole.out[:, :, queries] = both.out
                whole.lse[:, :, queries] = both.lse
        out = whole.out.to(q.dtype)
        ctx.save_for_backward(q, k, v, out, whole.lse)
        ctx.way = way
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        q, k, v, out, lse = ctx.saved_tensors
        way: _Round = ctx.way
        grad = grads[0].contiguous()
        dq = torch.zeros_like(q, dtype=lse.dtype)
        dkv = torch.zeros((2, *k.shape), dtype=lse.dtype, device=k.device)
        for owner, (key, value) in _going_round(torch.stack([k, v]), way):
            if owner != way.shard.group.mesh.get_local_rank("ring"):
                dkv = _passed_on(dkv, way)
            for queries, keys, mask in way.blocks(owner):
                one, two, three = attend_backward(
                    grad[:, :, queries],
                    q[:, :, queries],
                    key[:, :, keys],
                    value[:, :, keys],
                    mask,
                    way.scale,
                    Partial(out[:, :, queries], lse[:, :, queries].contiguous()),
                )
                dq[:, :, queries] += one
                dkv[0, :, :, keys] += two
                dkv[1, :, :, keys] += three
        dk, dv = _passed_on(dkv, way).to(k.dtype)
        return dq.to(q.dtype), dk, dv, None


def _going_round(pair: Tensor, way: _Round) -> Iterator[tuple[int, Tensor]]:
    """Yield each process's keys and values with its number, beginning with one's own.

    The next pair is under way while the caller works on this one.
    """
    size = way.shard.group.spec.ring
    rank = way.shard.group.mesh.get_local_rank("ring")
    for step in range(size):
        arriving: Tensor | None = None
        waits: list[dist.Work] = []
        if step < size - 1:
            arriving, waits = _start_passing(pair, way)
        yield (rank - step) % size, pair
        for wait in waits:
            wait.wait()
        if arriving is not None:
            pair = arriving


def _passed_on(x: Tensor, way: _Round) -> Tensor:
    arriving, waits = _start_passing(x, way)
    for wait in waits:
        wait.wait()
    return arriving


def _start_passing(x: Tensor, way: _Round) -> tuple[Tensor, list[dist.Work]]:
    """Begin to send a tensor to the next process and to receive the previous one's."""
    group, size = way.shard.group.ring, way.shard.group.spec.ring
    rank = way.shard.group.mesh.get_local_rank("ring")
    arriving = torch.empty_like(x)
    ways = [
        dist.P2POp(dist.isend, x, group=group, group_peer=(rank + 1) % size),
        dist.P2POp(dist.irecv, arriving, group=group, group_peer=(rank - 1) % size),
    ]
    return arriving, dist.batch_isend_irecv(ways)
