"""LoRA adapters, merged exactly into the base model that they were trained on.

peft's rule: W + scale * (B @ A), with scale = alpha / r, or alpha / sqrt(r) where ``use_rslora`` is
set; ``rank_pattern`` and ``alpha_pattern`` change both for some modules. Products are computed in
float32 and rounded once to the base's type.

Letters: O outputs, I inputs, R rank, V tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.weights import Item, Weights, added

_FACTOR = re.compile(
    r"(?:base_model\.model\.)?(.+)\.lora_(?:embedding_)?([AB])(?:\.default)?(?:\.weight)?"
)
_WHOLE = re.compile(r"(?:base_model\.model\.)?(.+)")
_UNSUPPORTED = ("use_dora", "use_qalora", "megatron_config_only")


def merge_lora(base: Weights, adapter: Weights, config: Mapping[str, Any]) -> Weights:
    """Return the base with an adapter merged; nothing is computed before a tensor is read.

    Args:
        base: the base model's tensors.
        adapter: the adapter's tensors, as peft saves them.
        config: its ``adapter_config.json``.

    Raises:
        CheckpointError: it is no plain LoRA, or a tensor of it has no counterpart in the base.
    """
    if config.get("peft_type") != "LORA" or any(config.get(key) for key in _UNSUPPORTED):
        raise CheckpointError(
            f"the adapter is a {config.get('peft_type')!r} with options that cannot be merged "
            "exactly; expected plain LORA. Merge it with peft first."
        )
    items = dict(base)
    factors: dict[str, dict[str, tuple[str, Item]]] = {}
    for name, item in adapter.items():
        if match := _FACTOR.fullmatch(name):
            factors.setdefault(match[1], {})[match[2]] = (name, item)
            continue
        whole = _WHOLE.fullmatch(name)
        target = whole[1].replace(".modules_to_save", "") if whole else name
        if target not in items:
            raise CheckpointError(
                f"the adapter's {name} replaces {target}, which the base model does not have. "
                "Give the base it was trained on."
            )
        items[target] = item
    for module, pair in factors.items():
        target = f"{module}.weight"
        if target not in items or pair.keys() != {"A", "B"}:
            raise CheckpointError(
                f"the adapter changes {target}, which the base model does not have, or half of "
                "its pair is missing. Give the base it was trained on."
            )
        items[target] = _merged(items[target], module, pair, config)
    return Weights(items)


def _merged(
    base: Item, module: str, pair: Mapping[str, tuple[str, Item]], config: Mapping[str, Any]
) -> Item:
    """Return the (O, I) base, or (V, I) token table, with B (O, R) @ A (R, I) added when read."""
    (name_a, a), (_, b) = pair["A"], pair["B"]
    rank = a.shape[0]
    scale = _scale(module, rank, config)
    # A token table is looked up by row: its A is (R, V), its B (I, R).
    turned = "lora_embedding" in name_a or bool(config.get("fan_in_fan_out"))
    product = (b.shape[0], a.shape[1])
    if len(a.shape) != 2 or len(b.shape) != 2 or b.shape[1] != rank:
        raise CheckpointError(f"the adapter's factors of {module} are {b.shape} and {a.shape}.")
    if base.shape != (product[::-1] if turned else product):
        raise CheckpointError(
            f"{module} is {base.shape} in the base model, but the adapter changes {product}. "
            "Give the base it was trained on."
        )
    return added(base, _adding(a, b, scale, turned=turned), a.origins + b.origins)


def _adding(a: Item, b: Item, scale: float, *, turned: bool) -> Callable[[Tensor], Tensor]:
    def change(weight: Tensor) -> Tensor:
        delta = b.read().to(torch.float32) @ a.read().to(torch.float32)
        delta = scale * (delta.T if turned else delta)
        return (weight.to(torch.float32) + delta).to(weight.dtype)

    return change


def _scale(module: str, rank: int, config: Mapping[str, Any]) -> float:
    alpha = _of_module(module, config.get("alpha_pattern"), config.get("lora_alpha", 8))
    said = _of_module(module, config.get("rank_pattern"), config.get("r", rank))
    if said != rank:
        raise CheckpointError(
            f"adapter_config.json gives {module} the rank {said}, but its tensors have {rank}. "
            "The two files do not belong together."
        )
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _of_module(module: str, pattern: Mapping[str, float] | None, default: float) -> float:
    """Return a module's own number, where a pattern matches the end of its name, as in peft."""
    for key, value in (pattern or {}).items():
        if re.fullmatch(rf"(?:.*\.)?(?:{key})", module):
            return value
    return default
