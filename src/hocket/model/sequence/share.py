"""What else is shared with the tokens: towers' work, and the loss.

Each process runs the towers on a share of the media, as VILA deals pictures out, and all of them
get all rows. A process without a share runs the first medium too and its rows count for nothing:
the others are busy meanwhile, and every collective of a tower finds everyone.

Letters: B rows, T tokens, N tokens of one process, S spans, U encoder units, R media rows, D width,
E samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from hocket.model.loss import Losses
from hocket.model.sequence.collectives import add_up, show_sum
from hocket.model.sequence.group import Shard
from hocket.tokens.batch import IGNORED


def share_work(
    rows_of: Callable[..., Tensor], shard: Shard | None, spans: Tensor | None, *units: Tensor | None
) -> Tensor:
    """Return the rows (R, D) of all spans, of which each process has made its share.

    Args:
        rows_of: makes rows of ``(spans, *units)``.
        shard: the processes; None makes all rows here.
        spans: int64 (S, 7); None makes all rows in every process.
        units: tensors (U, ...), or None where the batch lacks one.
    """
    if shard is None or spans is None:
        return rows_of(spans, *units)
    first, last = _share(spans[:, 0], shard)
    taken = slice(first, max(last, first + 1)) if first < len(spans) else slice(0, 1)
    begin = int(spans[: taken.start, 0].sum())
    end = begin + int(spans[taken, 0].sum())
    rows = rows_of(spans[taken], *(None if one is None else one[begin:end] for one in units))
    counts = spans[:, 1]
    before, mine = int(counts[:first].sum()), int(counts[first:last].sum())
    behind = int(counts.sum()) - before - mine
    whole = nn.functional.pad(rows[:mine], (0, 0, before, behind))
    return add_up(whole, shard.group.whole)


def _share(units: Tensor, shard: Shard) -> tuple[int, int]:
    """Return the first span of this process and the one behind its last; units are balanced."""
    # A span belongs to where its middle unit falls.
    middle = units.cumsum(0) - (units + 1) // 2
    owner = middle * shard.group.spec.degree // units.sum().clamp(min=1)
    first = int((owner < shard.group.rank).sum())
    return first, first + int((owner == shard.group.rank).sum())


class LossInputs(NamedTuple):
    """What the loss of this process's tokens needs; columns as `supervised_loss` takes them."""

    labels: Tensor  # int64 (B, N + 1)
    weights: Tensor | None  # float32 (B, N + 1)
    samples: Tensor | None  # int64 (B, N + 1)
    num_items: Tensor | float


def cut_loss_inputs(
    shard: Shard,
    labels: Tensor,
    weights: Tensor | None,
    samples: Tensor | None,
    num_items: Tensor | float | None,
) -> LossInputs:
    """Return this process's columns of (B, T) labels, weights and samples."""
    wanted = labels[:, 1:] != IGNORED
    if num_items is None:
        num_items = wanted.sum() if weights is None else weights[:, 1:][wanted].sum()
    return LossInputs(
        shard.cut_shifted(labels, fill=IGNORED),
        None if weights is None else shard.cut_shifted(weights),
        None if samples is None else shard.cut_shifted(samples),
        num_items,
    )


def whole_losses(shard: Shard, own: Losses, samples: Tensor | None) -> Losses:
    """Return the losses of all tokens; the gradient is that of this process's own.

    Args:
        shard: the processes.
        own: losses of this process's tokens.
        samples: int64 (B, T), not cut; says how many samples there are.
    """
    count = 0 if samples is None or samples.numel() == 0 else int(samples.max()) + 1
    each = nn.functional.pad(own.samples, (0, count - len(own.samples)))
    both = (show_sum(one, shard.group.whole) for one in (own.total, each))
    return Losses(*both)
