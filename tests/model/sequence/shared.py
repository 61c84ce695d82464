"""What the processes of the tests do: the same batch alone and shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from tests.toy import SPEC, TEXTS, WIDTH, mixed
from torch import Tensor, nn
from transformers import AttentionInterface

from hocket._errors import AlignmentError, ConfigError
from hocket.model.build import build
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.sequence import IMPLEMENTATION, SequenceSpec
from hocket.model.sequence.attention import sequence_attention
from hocket.model.sequence.group import SequenceGroup, open_group, shard_rows
from hocket.model.sequence.proof import share_rows
from hocket.model.spec import LanguageSpec, Options
from hocket.tokens.batch import pack_batch

CPU = torch.device("cpu")


class Found(NamedTuple):
    """How far a way of sharing is off, and the largest gradient of whole rows."""

    family: str
    way: SequenceSpec
    loss: float
    samples: float
    gradient: float
    largest: float


def made(
    family: str = "qwen3", options: Options | None = None
) -> tuple[HocketForConditionalGeneration, dict[str, Tensor]]:
    """Return a model in double precision and a packed batch of two rows with all media."""
    config = WIDTH | {"num_attention_heads": 4, "num_key_value_heads": 2} | (options or {})
    spec = replace(SPEC, language=LanguageSpec(model_type=family, config=config))
    model, processor = build(spec, TEXTS * 3)
    examples = [processor.encode(one) for one in mixed()]
    rows = [examples, examples[::-1][:3]]
    batch = dict(pack_batch(rows, pad_id=processor.tokenizer.pad_token_id))
    return model.double(), batch  # type: ignore[return-value] # every value of a Batch is a tensor


def learned(
    model: HocketForConditionalGeneration,
    batch: dict[str, Tensor],
    group: SequenceGroup | None,
) -> tuple[float, Tensor, dict[str, Tensor]]:
    """Return the loss, the samples' losses and the gradients, added up over the processes."""
    model.zero_grad(set_to_none=True)
    output = model(**batch, sequence=group, loss_only=True)
    output.loss.backward()
    gradients = {}
    for name, value in model.named_parameters():
        gradient = torch.zeros_like(value) if value.grad is None else value.grad.clone()
        if group is not None:
            torch.distributed.all_reduce(gradient, group=group.whole)
        gradients[name] = gradient
    return float(output.loss.detach()), output.sample_losses, gradients


def compare(ways: Sequence[SequenceSpec], families: Sequence[tuple[str, Options]]) -> list[Found]:
    """Return for each family and way of sharing how far loss, samples and gradients are off."""
    found = []
    for family, options in families:
        model, batch = made(family, options)
        whole = learned(model, batch, None)
        model.set_attn_implementation({"text_config": IMPLEMENTATION})
        for way in ways:
            part = learned(model, batch, open_group(way, CPU))
            samples = float(((part[1] - whole[1]).abs() / whole[1].clamp(min=1)).max())
            gradient = max(float((part[2][name] - whole[2][name]).abs().max()) for name in whole[2])
            largest = max(float(value.abs().max()) for value in whole[2].values())
            found.append(Found(family, way, abs(part[0] - whole[0]), samples, gradient, largest))
    return found


def refused() -> list[str]:
    """Return the messages of what cannot be shared."""
    messages = []
    packed = torch.arange(8)[None]
    ulysses, ring = (open_group(SequenceSpec(**{kind: 2}), CPU) for kind in ("ulysses", "ring"))
    x = torch.zeros(1, 3, 4, 2)
    for group, mask, options in (
        (ulysses, None, {}),
        (ring, torch.ones(1, 8), {}),
        (ring, None, {"dropout": 0.1}),
        (ring, None, {"softcap": 30.0}),
    ):
        try:
            shard = shard_rows(group, packed, mask)
            sequence_attention(nn.Module(), x, x, x, None, sequence=shard, **options)
        except ConfigError as error:
            messages.append(str(error))
    try:
        open_group(SequenceSpec(ring=3), CPU)
    except ConfigError as error:
        messages.append(str(error))
    return messages


def share_and_stray() -> tuple[float, str]:
    """Return how far a good model is off, and what is said of one that sees its own part alone."""
    group = open_group(SequenceSpec(ring=2), CPU)
    model, _ = made()
    off = share_rows(model, group)

    def alone(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: object, **rest: object
    ) -> tuple[Tensor, None]:
        key, value = (one.repeat_interleave(2, dim=1) for one in (key, value))
        out = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return out.transpose(1, 2).contiguous(), None

    AttentionInterface.register(IMPLEMENTATION, alone)
    try:
        share_rows(model, group)
    except AlignmentError as error:
        return off, str(error)
    return off, ""
