"""Attention of packed rows on a CPU: each sample of a row by itself.

transformers separates packed samples by a mask over the whole row, so its attention works on every
pair of tokens and throws most of them away. Kernels that take the samples' bounds run on GPUs only;
on a CPU a call for each sample does, and a sample's pairs are all that is computed. The result is
that of the mask but for rounding. Without bounds among its arguments, as in generation, and on GPUs
this is transformers' own scaled_dot_product_attention, so one switch serves all.

Letters: B rows, T tokens, H query heads, K key heads, D head width.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IMPLEMENTATION = "hocket_documents"
"""Name of the attention function in transformers' AttentionInterface."""

PLAIN = "sdpa"

Documents = list[list[int]]
"""Tokens of each sample of each row, in order."""


def attend_alone(model: PreTrainedModel) -> bool:
    """Let a language model work on each sample by itself; False where that is not to be.

    Args:
        model: the composite; a setting other than ``sdpa`` is somebody's choice and stays, and
            beside an accelerator nothing is gained.
    """
    if torch.accelerator.current_accelerator(check_available=True) is not None:
        return False
    if model.config.text_config._attn_implementation != PLAIN:
        return model.config.text_config._attn_implementation == IMPLEMENTATION
    model.set_attn_implementation({"text_config": IMPLEMENTATION})
    return True


def attend_together(model: PreTrainedModel) -> None:
    """Take `attend_alone` back."""
    if model.config.text_config._attn_implementation == IMPLEMENTATION:
        model.set_attn_implementation({"text_config": PLAIN})


def find_documents(
    language: PreTrainedModel, embeds: Tensor, positions: Tensor | None
) -> Documents | None:
    """Return how long the samples of rows without a mask are; None where attention needs a mask.

    Args:
        language: the language model.
        embeds: (B, T, D), what it is given.
        positions: int64 (B, T), which restart at 0 with each sample.
    """
    if language.config._attn_implementation != IMPLEMENTATION or embeds.device.type != "cpu":
        return None
    if positions is None or positions.shape != embeds.shape[:2] or positions[:, 0].any():
        return None
    return [_lengths(places) for places in positions]


def _lengths(places: Tensor) -> list[int]:
    starts = torch.nonzero(places == 0).flatten()
    ends = torch.cat([starts[1:], starts.new_tensor([len(places)])])
    found: list[int] = (ends - starts).tolist()
    return found


def documents_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    documents: Documents | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return each token's attention to those before it in its sample, (B, T, H, D).

    Args:
        module: the attention layer.
        query: (B, H, T, D).
        key: (B, K, T, D).
        value: (B, K, T, D).
        attention_mask: what transformers made; without meaning where lengths are known.
        dropout: share of the attention that is dropped.
        scaling: factor of the scores; None for one over the root of D.
        documents: lengths of the samples; None for transformers' own attention.
        kwargs: what transformers hands to all attention functions; of them ``sliding_window`` is
            how many tokens back a token sees, itself included.

    Raises:
        ValueError: the scores are changed in a way that is not known here.
    """
    if documents is None:
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
    unknown = [
        name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None
    ]
    if unknown:
        raise ValueError(f"attention of packed samples does not know {', '.join(unknown)}")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    rows = [
        _attend_row(lengths, q, k, v, dropout, scaling, kwargs.get("sliding_window"))
        for lengths, q, k, v in zip(documents, query, key, value, strict=True)
    ]
    return rearrange(rows, "b h t d -> b t h d").contiguous(), None


def _attend_row(
    lengths: list[int],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    """Return the attention of the samples of one row, (H, T, D)."""
    # Split, not sliced: the gradient of a slice is as large as the whole row.
    samples = zip(*(torch.split(one, lengths, dim=1) for one in (query, key, value)), strict=True)
    found = []
    for length, (q, k, v) in zip(lengths, samples, strict=True):
        near = _window(length, window)
        found.append(
            nn.functional.scaled_dot_product_attention(
                q[None], k[None], v[None], near, dropout, near is None, scale=scaling
            )[0]
        )
    return torch.cat(found, dim=1)


def _window(length: int, size: int | None) -> Tensor | None:
    """Return which of `length` tokens see which, (T, T), or None where the window hides none."""
    if not size or length <= size:
        return None
    behind = torch.arange(length)[:, None] - torch.arange(length)
    return (behind >= 0) & (behind < size)


AttentionInterface.register(IMPLEMENTATION, documents_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
