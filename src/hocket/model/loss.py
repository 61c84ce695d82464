"""Next-token loss at the supervised positions only.

Letters: B rows, T tokens, D width, V vocabulary, N supervised positions, E samples of the batch.

About half of the positions of a multimodal batch are prompts and media; their logits are never
needed. The head therefore runs on the (N, D) supervised states, in chunks whose logits are thrown
away and computed again in the backward pass, so that no (T, V) tensor exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hocket._errors import ConfigError
from hocket.tokens.batch import IGNORED

CHUNK = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOptions:
    """What is added to the plain cross entropy.

    Attributes:
        label_smoothing: share of the probability that the target gives to all tokens alike.
        z_loss: weight of the squared logarithm of the softmax's sum, which keeps logits small
            (PaLM).
        moment_first: id of the first time token; -1 where there are none.
        moments: number of time tokens.
        moment_std: spread, in tokens, of the target around a time token, so that a near miss costs
            less than a far one (VILA's soft cross entropy); 0 treats them like other tokens.
        compare_samples: let gradients flow through the losses of single samples, which pairs of
            answers are compared by.
    """

    label_smoothing: float = 0.0
    z_loss: float = 0.0
    moment_first: int = -1
    moments: int = 0
    moment_std: float = 0.0
    compare_samples: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}, expected 0 to below 1.")
        if self.z_loss < 0 or self.moment_std < 0:
            raise ConfigError("z_loss and moment_std cannot be below 0. Correct them.")


class Losses(NamedTuple):
    """A batch's loss: what is learned, (), and what each sample's tokens cost in all, (E)."""

    total: Tensor
    samples: Tensor


def supervised_loss(
    hidden: Tensor,
    labels: Tensor,
    head: nn.Module,
    num_items: Tensor | float | None,
    *,
    weights: Tensor | None = None,
    samples: Tensor | None = None,
    options: LossOptions | None = None,
) -> Losses:
    """Return the summed loss of all supervised tokens, divided by `num_items`.

    Args:
        hidden: (B, T, D) states of the language model.
        labels: int64 (B, T), or (B, T + 1) where the last state has a label too; -100 where
            nothing is learned.
        head: maps (N, D) to (N, V).
        num_items: supervised tokens of the whole global step, or their weights' sum; None divides
            by those of this batch.
        weights: float32 (B, T), how much each label counts; None counts all alike.
        samples: int64 (B, T), number of the sample that each label belongs to.
        options: what is added to the cross entropy.
    """
    target = labels[:, 1:]
    wanted = target != IGNORED
    # One column fewer than labels: of whole rows the last state predicts nothing, of shared rows
    # each state has its label.
    states, goals = hidden[:, : target.shape[1]][wanted], target[wanted]
    chosen = options or LossOptions()
    total = hidden.new_zeros((), dtype=torch.float32)
    plain = [total.new_zeros(0)]
    pieces = (goals, torch.ones_like(goals) if weights is None else weights[:, 1:][wanted])
    chunks = (torch.split(piece, CHUNK) for piece in (states, *pieces))
    for state, goal, weight in zip(*chunks, strict=True):
        if len(states) <= CHUNK:
            part, each = _chunk_loss(state, goal, weight, head, chosen)
        else:
            part, each = checkpoint(
                _chunk_loss, state, goal, weight, head, chosen, use_reentrant=False
            )
        total = total + part
        plain.append(each)
    if len(states) == 0:
        total = total + 0.0 * hidden.sum()
    whole = pieces[1].sum() if num_items is None else torch.as_tensor(num_items)
    whole = whole.to(total.device, torch.float32)
    # Weights may add up to less than one token; only a step without any is not divided.
    total = total / torch.where(whole > 0, whole, 1.0)
    return Losses(total, _per_sample(torch.cat(plain), samples, wanted))


def _per_sample(each: Tensor, samples: Tensor | None, wanted: Tensor) -> Tensor:
    """Add up the (N) losses of each sample's tokens, float32 (E)."""
    if samples is None or samples.numel() == 0:
        return each.new_zeros(0)
    sums = each.new_zeros(max(int(samples.max()) + 1, 0))
    return sums.index_add(0, samples[:, 1:][wanted], each)


def _chunk_loss(
    states: Tensor, goals: Tensor, weights: Tensor, head: nn.Module, options: LossOptions
) -> tuple[Tensor, Tensor]:
    """Return the weighted loss of a chunk, (), and its plain cross entropies, (N), in float32."""
    logits = head(states).float()
    plain = nn.functional.cross_entropy(logits, goals, reduction="none")
    loss = plain
    if options.label_smoothing:
        loss = nn.functional.cross_entropy(
            logits, goals, reduction="none", label_smoothing=options.label_smoothing
        )
    if options.moment_std and options.moments:
        soft, is_moment = _soft_loss(logits, goals, options)
        loss = torch.where(is_moment, soft, loss)
    if options.z_loss:
        loss = loss + options.z_loss * torch.logsumexp(logits, dim=-1).square()
    return (loss * weights).sum(), plain if options.compare_samples else plain.detach()


def _soft_loss(logits: Tensor, goals: Tensor, options: LossOptions) -> tuple[Tensor, Tensor]:
    """Return the cross entropy with targets spread over near time tokens, and where it counts."""
    place = goals - options.moment_first
    is_moment = (place >= 0) & (place < options.moments)
    scale = torch.arange(options.moments, device=goals.device)
    distance = (scale - place[:, None]).float() / options.moment_std
    share = torch.softmax(-0.5 * distance.square(), dim=-1)
    last = options.moment_first + options.moments
    moments = torch.log_softmax(logits, dim=-1)[:, options.moment_first : last]
    return -(share * moments).sum(dim=-1), is_moment
