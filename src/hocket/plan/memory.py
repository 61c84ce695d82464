"""What each device holds under each way of sharing a run among devices.

Letters: W weights, G gradients and O optimizer state of all parameters that train, in bytes; N
devices; A what a step makes beside them.

* ``single``: W + O + A, where gradients come up while activations go (`Traced.with_gradients`).
  AdamW keeps two moments of each parameter that trains, in its number format, so O = 2 G
  (Loshchilov and Hutter, 2019; `torch.optim.AdamW`).
* ``ddp``: beside that G once more, the buckets that gradients are exchanged in
  (`torch.nn.parallel.DistributedDataParallel` without ``gradient_as_bucket_view``).
* ``zero2``: gradients and optimizer are shared, W + (G + O) / N, and the gradients of a block are
  whole until they are exchanged (Rajbhandari et al., ZeRO, 2020, section 5).
* ``zero3``: weights too, (W + G + O) / N; the block that computes and the one behind it are
  gathered, and what lies in no block is throughout (ZeRO, section 5.3; torch's FSDP2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hocket.plan.trace import Sizes, Traced


class Strategy(StrEnum):
    """How devices share a run."""

    SINGLE = "single"
    DDP = "ddp"
    ZERO2 = "zero2"
    ZERO3 = "zero3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one device at its fullest moment, by part.

    Attributes:
        weights: of it the weights held, gathered blocks included.
        gradients: gradients at the end of the backward pass, buckets included.
        optimizer: state of the optimizer.
        activations: kept between forward and backward pass.
        logits: of the head and the loss.
        buffers: buffers of the model and the batch.
        peak: most bytes at once; less than the sum, as gradients come when activations go.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    buffers: float
    peak: float


def memory_of(
    sizes: Sizes,
    traced: Traced,
    strategy: Strategy,
    *,
    devices: int,
    accumulate: int = 1,
    scale: float = 1.0,
) -> Memory:
    """Return what each device holds.

    Args:
        sizes: the model.
        traced: a micro-batch of one device.
        strategy: how devices share the run.
        devices: number of devices.
        accumulate: micro-batches of a step; above 1 all gradients stay through a whole pass.
        scale: measured over traced bytes of a step, see `hocket.plan.measure`.
    """
    shards = max(devices, 1)
    weights, gradients = float(sizes.weights), float(sizes.trainable)
    optimizer, standing = 2 * gradients, 0.0
    if strategy is Strategy.DDP:
        standing = gradients
    if strategy in (Strategy.ZERO2, Strategy.ZERO3):
        whole = min(sizes.block, gradients)
        optimizer, gradients = optimizer / shards, gradients / shards + whole
    if strategy is Strategy.ZERO3:
        gathered = min(sizes.root + 2 * sizes.block, sizes.weights)
        weights = min(weights / shards + gathered, weights)
    apart = traced.without_gradients + gradients
    made = apart
    if strategy in (Strategy.SINGLE, Strategy.DDP) and accumulate == 1:
        made = min(float(traced.with_gradients), apart)
    buffers = float(sizes.buffers + traced.inputs)
    return Memory(
        weights=weights,
        gradients=gradients + standing,
        optimizer=optimizer,
        activations=traced.activations * scale,
        logits=traced.logits * scale,
        buffers=buffers,
        peak=weights + optimizer + standing + buffers + made * scale,
    )


def by_part(memory: Memory) -> Mapping[str, float]:
    """Return the bytes of each part by name, the peak last."""
    names = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "peak")
    values = (
        memory.weights,
        memory.gradients,
        memory.optimizer,
        memory.activations,
        memory.logits,
        memory.buffers,
        memory.peak,
    )
    return dict(zip(names, values, strict=True))
