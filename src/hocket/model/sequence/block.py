"""Attention of some queries to some keys, with the log-sum-exp that partial results are merged by.

On CPUs this is the fused kernel of torch's scaled_dot_product_attention, whose public function
hides the log-sum-exp; elsewhere the same in plain operations, some queries at a time.

Letters: B rows, H query heads, K key heads, N queries, M keys, D head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor

QUERIES = 512
"""Queries whose scores are in memory at a time, where the kernel does not run."""


class Partial(NamedTuple):
    """What attention to some of the keys gives: output (B, H, N, D), log-sum-exp (B, H, N)."""

    out: Tensor
    lse: Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Partial:
    """Return the attention of (B, H, N, D) to (B, K, M, D) where the mask (B, 1, N, M) is true.

    A query that sees no key has the output 0 and the log-sum-exp -inf. Both come in float32, or in
    the precision of the queries where that is higher.
    """
    k, v = _for_heads(k, q.shape[1]), _for_heads(v, q.shape[1])
    exact = torch.promote_types(q.dtype, torch.float32)
    if q.device.type == "cpu":
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, 0.0, False, attn_mask=_bias(mask, q.dtype), scale=scale
        )
        lse = lse.masked_fill(~mask.any(dim=-1), float("-inf"))
        return Partial(out.to(exact), lse.to(exact))
    pieces = [
        _attend(one, k, v, seen, scale)
        for one, seen in zip(q.split(QUERIES, 2), mask.split(QUERIES, 2), strict=True)
    ]
    return Partial(*(torch.cat(piece, dim=2) for piece in zip(*pieces, strict=True)))


def attend_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float, whole: Partial
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values.

    Args:
        grad: gradient of the output over all keys, (B, H, N, D).
        q: queries.
        k: keys of this block.
        v: values of this block.
        mask: what is seen in this block.
        scale: factor of the scores.
        whole: output and log-sum-exp over all keys of all blocks.
    """
    heads, kept = q.shape[1], k.shape[1]
    k, v = _for_heads(k, heads), _for_heads(v, heads)
    if q.device.type == "cpu":
        dq, dk, dv = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad.to(q.dtype),
            q,
            k,
            v,
            whole.out.to(q.dtype),
            whole.lse,
            0.0,
            False,
            attn_mask=_bias(mask, q.dtype),
            scale=scale,
        )
    else:
        dq, dk, dv = _attend_backward(grad, q, k, v, mask, scale, whole)
    return dq, _for_kept(dk, kept), _for_kept(dv, kept)


def merge(one: Partial, other: Partial) -> Partial:
    """Return the attention to the keys of both; -inf on one side leaves the other as it is."""
    lse = torch.logaddexp(one.lse, other.lse)
    # Where neither saw a key the difference would be inf - inf.
    safe = torch.where(lse == float("-inf"), 0.0, lse)
    shares = [torch.exp(part.lse - safe)[..., None] * part.out for part in (one, other)]
    return Partial(shares[0] + shares[1], lse)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Partial:
    exact = torch.promote_types(q.dtype, torch.float32)
    scores = _scores(q, k, mask, scale)
    lse = torch.logsumexp(scores, dim=-1)
    safe = torch.where(lse == float("-inf"), 0.0, lse)
    return Partial(torch.exp(scores - safe[..., None]) @ v.to(exact), lse)


def _attend_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float, whole: Partial
) -> tuple[Tensor, Tensor, Tensor]:
    exact = torch.promote_types(q.dtype, torch.float32)
    dk, dv = torch.zeros_like(k, dtype=exact), torch.zeros_like(v, dtype=exact)
    dqs = []
    pieces = (piece.split(QUERIES, 2) for piece in (grad.to(exact), q, mask, *whole))
    for g, one, seen, out, lse in zip(*pieces, strict=True):
        chances = torch.exp(_scores(one, k, seen, scale) - lse[..., None])
        dv += chances.mT @ g
        inner = g @ v.to(exact).mT - (g * out).sum(dim=-1, keepdim=True)
        pull = chances * inner * scale
        dqs.append((pull @ k.to(exact)).to(q.dtype))
        dk += pull.mT @ one.to(exact)
    return torch.cat(dqs, dim=2), dk.to(k.dtype), dv.to(v.dtype)


def _scores(q: Tensor, k: Tensor, mask: Tensor, scale: float) -> Tensor:
    exact = torch.promote_types(q.dtype, torch.float32)
    return (q.to(exact) @ k.to(exact).mT * scale).masked_fill(~mask, float("-inf"))


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, float("-inf"))


def _for_heads(x: Tensor, heads: int) -> Tensor:
    """Repeat key heads so that each query head has its own."""
    return repeat(x, "b k m d -> b (k g) m d", g=heads // x.shape[1])


def _for_kept(grad: Tensor, kept: int) -> Tensor:
    return reduce(grad, "b (k g) m d -> b k m d", "sum", k=kept)


def contiguous_heads(x: Tensor) -> Tensor:
    """Return (B, N, H, D) as contiguous (B, H, N, D)."""
    return rearrange(x, "b n h d -> b h n d").contiguous()
