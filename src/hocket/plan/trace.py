"""One forward and backward pass of a composite on the device ``meta``: its memory and its work.

Nothing here knows an architecture: the model's own code runs, on shapes, as it will run when it
trains, frozen parts, adapters, packed rows, recomputation and the chunked loss included.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hocket.model.loss import CHUNK
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.plan.meter import metered
from hocket.plan.narrow import narrowed
from hocket.tokens.batch import IGNORED, Batch
from hocket.train.parallel.blocks import blocks_of

# NF4 in blocks of 64 with a float32 scale each, see `hocket.model.adapters.nf4`.
_FOUR_BITS = (4 + 32 / 64) / 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """What one micro-batch needs, in bytes, and takes, in floating-point operations.

    Attributes:
        inputs: the batch itself with its attention mask.
        activations: kept for the backward pass when the head begins.
        logits: most that the head and the loss need beside them.
        without_gradients: most that exists together, gradients of weights left out.
        with_gradients: most that exists together while gradients come up from nothing.
        flops: operations of forward and backward; a multiplication and an addition are two.
        tower_flops: of them those of towers and connectors in the forward pass.
        tokens: positions of the batch, padding included.
    """

    inputs: int
    activations: int
    logits: int
    without_gradients: int
    with_gradients: int
    flops: float
    tower_flops: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes of what exists whatever the batch is.

    Attributes:
        parameters: number of all parameters.
        training: number of parameters that train.
        weights: all parameters as they rest.
        computed: all parameters in the number format that is computed with.
        trainable: those that train, as they rest; their gradients take as much.
        buffers: what the model holds beside parameters.
        block: the largest block that sharding gathers by itself, computed with.
        root: parameters in no block, such as tables and the head, gathered throughout.
    """

    parameters: int
    training: int
    weights: int
    computed: int
    trainable: int
    buffers: int
    block: int
    root: int


def sizes_of(
    model: HocketForConditionalGeneration, *, narrow: bool = False, packed: Collection[str] = ()
) -> Sizes:
    """Return the bytes of a model.

    Args:
        model: with the trainable parameters of its stage, in the number format that they rest in.
        narrow: whether it is computed with in bfloat16, whatever the weights rest in.
        packed: layers below adapters whose weights rest in four bits (QLoRA).
    """
    named = dict(model.named_parameters())
    four_bits = {name for path in packed if (name := f"{path}.base_layer.weight") in named}
    rest = {
        name: round(value.numel() * _FOUR_BITS) if name in four_bits else _bytes(value)
        for name, value in named.items()
    }
    used = _narrow_bytes if narrow else _bytes
    blocks = [sum(map(used, block.parameters())) for block in blocks_of(model)]
    computed = sum(map(used, named.values()))
    training = [name for name, value in named.items() if value.requires_grad]
    # A packed weight is unpacked for each product that it takes part in.
    unpacked = max((used(named[name]) for name in four_bits), default=0)
    return Sizes(
        parameters=sum(value.numel() for value in named.values()),
        training=sum(named[name].numel() for name in training),
        weights=sum(rest.values()) + unpacked,
        computed=computed,
        trainable=sum(rest[name] for name in training),
        buffers=sum(map(_bytes, model.buffers())),
        block=max(blocks, default=0),
        root=computed - sum(blocks),
    )


def trace(model: HocketForConditionalGeneration, batch: Batch, *, autocast: bool = False) -> Traced:
    """Run one step of a model on ``meta`` and return what it needs.

    Args:
        model: on ``meta``, with the modes and the trainable parameters of its stage.
        batch: packed rows; ids, labels and spans with their numbers, media of any device.
        autocast: whether a float32 model computes in bfloat16 as torch's autocast does; copies of
            its weights are among what the step makes.
    """
    inputs = _inputs(batch)
    at_head: list[int] = []
    at_words: list[int] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        at_head[:] = meter.live, meter.live_peak
        meter.restart_peak()

    def note_words(module: nn.Module, args: Any) -> None:
        at_words[:] = [meter.flops]

    hooks = [
        model.model.register_forward_hook(note),
        model.model.language_model.register_forward_pre_hook(note_words),
    ]
    try:
        with metered(model) as meter, narrowed() if autocast else nullcontext() as copies:
            loss = model(**inputs, loss_only=True).loss
            forward = meter.live_peak
            if copies is not None:
                copies.end_forward()
            with torch.autograd.set_multithreading_enabled(False):
                loss.backward()
    finally:
        for hook in hooks:
            hook.remove()
    live, before = at_head
    return Traced(
        inputs=sum(_bytes(value) for value in inputs.values()),
        activations=live,
        logits=max(0, forward - live, _head_bytes(model, batch)),
        without_gradients=max(before, meter.live_peak),
        with_gradients=max(before, meter.peak),
        flops=float(meter.flops),
        tower_flops=float(at_words[0]),
        tokens=batch["input_ids"].numel(),
    )


def _head_bytes(model: HocketForConditionalGeneration, batch: Batch) -> int:
    """Return what the loss of a chunk holds at once: three float32 tables of (N, V).

    They are the logarithms of the softmax, which are kept, and in the backward pass the gradient of
    the loss and the gradient of the logits; see `hocket.model.loss`.
    """
    targets = int((batch["labels"][:, 1:] != IGNORED).sum())
    return 3 * 4 * min(targets, CHUNK) * int(model.config.text_config.vocab_size)


def _inputs(batch: Batch) -> dict[str, Tensor]:
    """Return the model's inputs: media as shapes, rows separated by a mask of their own."""
    rows, length = batch["input_ids"].shape
    inputs: dict[str, Tensor] = {
        name: value.to("meta") if value.is_floating_point() else value  # type: ignore[attr-defined, misc] # every value of a Batch is a tensor
        for name, value in batch.items()
    }
    # transformers finds the samples of a row in the positions' numbers, and makes this mask.
    inputs["attention_mask"] = torch.empty(rows, 1, length, length, dtype=torch.bool, device="meta")
    inputs["position_ids"] = torch.empty(rows, length, dtype=torch.long, device="meta")
    inputs["num_items_in_batch"] = torch.ones(())
    return inputs


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()


def _narrow_bytes(value: Tensor) -> int:
    return value.numel() * torch.bfloat16.itemsize
