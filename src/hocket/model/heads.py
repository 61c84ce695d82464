"""Classifiers beside the language model: each tells the class of a medium from its rows.

A head reads the mean of a medium's rows in the language model's last hidden state, not in what the
connector made of it. So its loss reaches all that the medium goes through, tower, connector and
language model, as far as each of them trains, and speaks of the states that answers are written
from. These rows see what stands in front of them in their own sample and nothing else, so a medium
is told in a packed row as it is told alone.

Heads belong to a stage of training and to its checkpoints. They start from zeros, where all classes
are alike and nothing is pushed yet, and are not saved with the model. Source of the loss: the VITA
development guide (MultimodalLoss: alpha x text + beta x vision + gamma x audio).

Letters: B rows, T tokens, D language width, S media of a batch, R rows of all media, C classes of a
head, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hocket.model.sequence.collectives import add_up
from hocket.model.sequence.group import Shard
from hocket.tokens.batch import IGNORED

HEADS = "heads."
"""What the names of all parameters of heads begin with."""


class HeadTarget(NamedTuple):
    """What one head has to tell of a batch.

    Attributes:
        head: its name.
        places: int64 (B, T), number of the medium that each position is a row of; -1 elsewhere.
        labels: int64 (S,), class of each medium; -100 where none is learned.
        weights: float32 (S,), how much each label counts.
    """

    head: str
    places: Tensor
    labels: Tensor
    weights: Tensor


class HeadLosses(NamedTuple):
    """What heads add to a batch's loss.

    Attributes:
        total: float32 (), what is learned; of shared rows this process's part.
        each: float32 (H, 3), of each head its loss, how many labels it told right, and how many
            there are; of shared rows the whole, without a gradient.
    """

    total: Tensor
    each: Tensor


class MediaHeads(nn.ModuleDict):
    """Linear classifiers over the language model's states, all zeros at first.

    Args:
        classes: head -> number of its classes.
        width: of the language model.
    """

    def __init__(self, classes: Mapping[str, int], *, width: int) -> None:
        super().__init__({key_of(name): nn.Linear(width, count) for name, count in classes.items()})
        for value in self.parameters():
            nn.init.zeros_(value)

    def losses(
        self, hidden: Tensor, targets: Sequence[HeadTarget], shard: Shard | None = None
    ) -> HeadLosses | None:
        """Return the loss of a batch's labels; None where it has none.

        Args:
            hidden: (B, T, D) last states; of shared rows the positions that this process holds.
            targets: at most one for each head. Positions behind their last are of no medium.
            shard: processes that share the rows. Each has all means, and the first one learns.
        """
        if not targets:
            return None
        total = hidden.new_zeros((), dtype=torch.float32)
        each = total.new_zeros(len(self), 3)
        names = list(self)
        for one in targets:
            key = key_of(one.head)
            layer = self.get_submodule(key)
            assert isinstance(layer, nn.Linear)
            means = medium_means(hidden, one.places, len(one.labels), shard)
            logits = layer(means.to(layer.weight.dtype)).float()
            costs = nn.functional.cross_entropy(
                logits, one.labels, ignore_index=IGNORED, reduction="none"
            )
            loss = (costs * one.weights).sum()
            right = (logits.argmax(dim=-1) == one.labels).sum()
            count = (one.labels != IGNORED).sum()
            each[names.index(key)] = torch.stack([loss.detach(), right.float(), count.float()])
            # The others owe their zeros: the exchange of means has a backward pass.
            first = shard is None or shard.group.rank == 0
            total = total + (loss if first else 0.0 * loss)
        return HeadLosses(total, each)


def key_of(head: str) -> str:
    """Return what a head is called among the modules of `MediaHeads`, whatever its name."""
    return f"{head}_head"


def medium_means(hidden: Tensor, places: Tensor, count: int, shard: Shard | None = None) -> Tensor:
    """Return the mean state of each medium's rows, (S, D), float32 or wider.

    Args:
        hidden: (B, T, D), or the positions of it that this process holds.
        places: int64 (B, T) as of `HeadTarget`.
        count: media.
        shard: processes that share the rows.
    """
    rows = torch.bincount(places[places >= 0], minlength=count)
    if shard is not None:
        places = shard.cut(places, fill=-1)
    elif more := hidden.shape[1] - places.shape[1]:
        places = nn.functional.pad(places, (0, more), value=-1)
    here = places >= 0
    states = hidden[here]
    states = states.to(torch.promote_types(states.dtype, torch.float32))
    sums = states.new_zeros(count, hidden.shape[-1]).index_add(0, places[here], states)
    if shard is not None:
        sums = add_up(sums, shard.group.whole)
    return sums / rows[:, None]
