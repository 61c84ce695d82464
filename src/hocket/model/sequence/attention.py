"""The attention function of shared rows, as transformers' AttentionInterface calls it.

Without a shard among its arguments, as in previews and evaluation, it is transformers' own
scaled_dot_product_attention; one switch of the model's setting therefore serves both.

Letters: B rows, N tokens of one process, H query heads, K key heads, D head width, U processes of a
Ulysses group.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from hocket._errors import ConfigError
from hocket.model.sequence import IMPLEMENTATION
from hocket.model.sequence.collectives import exchange
from hocket.model.sequence.group import Shard
from hocket.model.sequence.ring import ring_attention


def sequence_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sequence: Shard | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return the attention of this process's tokens to all tokens of their rows, (B, N, H, D).

    Args:
        module: the attention layer.
        query: (B, H, N, D).
        key: (B, K, N, D).
        value: (B, K, N, D).
        attention_mask: what transformers made; without meaning for a shard, which has its own.
        dropout: share of the attention that is dropped.
        scaling: factor of the scores; None for one over the root of D.
        sequence: this process's tokens; None for whole rows.
        kwargs: what transformers hands to all attention functions.

    Raises:
        ConfigError: the model's attention is of a kind that cannot be shared.
    """
    if sequence is None:
        return sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            **kwargs,
        )
    _refuse(sequence, dropout, kwargs)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    window = kwargs.get("sliding_window") or 0
    parts = sequence.group.spec.ulysses
    key, value = (_enough_heads(x, query.shape[1], parts) for x in (key, value))
    query, key, value = (_to_heads(x, sequence) for x in (query, key, value))
    if sequence.group.spec.ring == 1:
        out = nn.functional.scaled_dot_product_attention(
            query,
            key.repeat_interleave(query.shape[1] // key.shape[1], dim=1),
            value.repeat_interleave(query.shape[1] // value.shape[1], dim=1),
            attn_mask=sequence.whole_mask(window),
            dropout_p=dropout,
            scale=scale,
        )
    else:
        out = ring_attention(query, key, value, sequence, scale=scale, window=window)
    return rearrange(_to_tokens(out, sequence), "b h n d -> b n h d").contiguous(), None


def _refuse(sequence: Shard, dropout: float, kwargs: dict[str, Any]) -> None:
    if dropout and sequence.group.spec.ring > 1:
        raise ConfigError(
            f"a ring does not drop attention, but the model has attention_dropout={dropout}. "
            "Set it to 0 in model.language.config, or use ulysses alone."
        )
    for name in ("softcap", "s_aux", "position_bias"):
        if kwargs.get(name) is not None:
            raise ConfigError(
                f"the language model's attention has {name}, which shared rows do not know. "
                "Set train.sequence_parallel to 1 x 1."
            )


def _enough_heads(x: Tensor, heads: int, parts: int) -> Tensor:
    """Repeat key heads (B, K, N, D) just as often as `parts` processes can share them."""
    if heads % parts:
        raise ConfigError(
            f"sequence_parallel.ulysses is {parts}, which does not divide the {heads} attention "
            "heads. Lower it, or raise ring instead."
        )
    kept = x.shape[1]
    group = heads // kept
    times = next(n for n in range(1, group + 1) if group % n == 0 and kept * n % parts == 0)
    return x.repeat_interleave(times, dim=1)


def _to_heads(x: Tensor, sequence: Shard) -> Tensor:
    """Give tokens away for heads: (B, H, N, D) becomes (B, H / U, N x U, D)."""
    parts = sequence.group.spec.ulysses
    if parts == 1:
        return x.contiguous()
    sent = rearrange(x, "b (u h) n d -> u b h n d", u=parts)
    return rearrange(
        exchange(sent, sequence.group.ulysses), "u b h n d -> b h (u n) d"
    ).contiguous()


def _to_tokens(x: Tensor, sequence: Shard) -> Tensor:
    """Give heads back for tokens: (B, H / U, N x U, D) becomes (B, H, N, D)."""
    parts = sequence.group.spec.ulysses
    if parts == 1:
        return x
    sent = rearrange(x, "b h (u n) d -> u b h n d", u=parts)
    return rearrange(exchange(sent, sequence.group.ulysses), "u b h n d -> b (u h) n d")


AttentionInterface.register(IMPLEMENTATION, sequence_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)

UNMASKED = torch.ones(1, 1, 1, 1, dtype=torch.bool)
"""Transformers hands a mask of four axes on as it is, and makes none of its own."""
