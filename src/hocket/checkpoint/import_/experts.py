"""Mixtures of experts: the matrices of all experts of a layer become one tensor each.

Mixtral's files hold ``w1``, ``w3`` (gate and up) and ``w2`` (down) of every expert by itself;
transformers 5 keeps ``gate_up_proj`` (E, 2 * I, D) and ``down_proj`` (E, D, I).

Letters: E experts, D width of the language model, I width inside an expert.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.table import Move, Rule
from hocket.checkpoint.import_.weights import Item, Weights

_EXPERT = re.compile(r"(.*\.block_sparse_moe\.experts)\.(\d+)\.(w[123])\.weight")
_DOWN, _GATE_UP = ("w2",), ("w1", "w3")


def fuse_experts(weights: Weights) -> Weights:
    """Return the tensors with Mixtral's experts joined; nothing is read yet.

    Args:
        weights: tensors, of which those of experts are named as in Mixtral's files.

    Raises:
        CheckpointError: an expert lacks a matrix, or its shape is not that of the others.
    """
    found: dict[str, dict[tuple[int, str], Item]] = defaultdict(dict)
    for name, item in weights.items():
        if match := _EXPERT.fullmatch(name):
            found[match[1]][int(match[2]), match[3]] = item
    fused = {
        f"{home}.{target}": _fused(home, parts, names)
        for home, parts in found.items()
        for target, names in (("gate_up_proj", _GATE_UP), ("down_proj", _DOWN))
    }
    return Weights(fused).over(weights.without(lambda name: bool(_EXPERT.fullmatch(name))))


def expert_rules(prefix: str = "", target: str = "model.language_model") -> tuple[Rule, ...]:
    """Return the rules of fused experts and their gate, which come before the language model's.

    Args:
        prefix: pattern in front of the source's names.
        target: the language model's name.
    """
    layer = rf"{prefix}model\.layers\.(\d+)\.block_sparse_moe\."
    own = rf"{target}.layers.\1.mlp."
    return (
        Move(rf"{layer}gate\.weight", rf"{own}gate.weight"),
        Move(rf"{layer}experts\.(gate_up_proj|down_proj)", rf"{own}experts.\2"),
    )


def _fused(home: str, parts: dict[tuple[int, str], Item], names: Sequence[str]) -> Item:
    """Return one matrix of all experts; several of one expert stand below each other."""
    count = 1 + max(number for number, _ in parts)
    try:
        rows = [[parts[number, name] for name in names] for number in range(count)]
    except KeyError as error:
        number, name = error.args[0]
        raise CheckpointError(
            f"{home} has {count} experts, but no {number}.{name}.weight. Files are missing."
        ) from None
    items = [item for row in rows for item in row]
    if len({item.shape for item in items}) > 1 or len(items[0].shape) != 2:
        shapes = sorted({item.shape for item in items})
        raise CheckpointError(
            f"{home}: {' and '.join(names)} of the experts are {shapes}, expected matrices of one "
            "shape. Files of several models are mixed."
        )
    high, wide = items[0].shape
    origins = tuple(origin for item in items for origin in item.origins)
    shape = (count, len(names) * high, wide)
    return Item(items[0].dtype, shape, _reader(rows, shape), origins)


def _reader(rows: list[list[Item]], shape: tuple[int, int, int]) -> Callable[[], Tensor]:
    def read() -> Tensor:
        # Filled expert by expert: memory holds the result and one matrix.
        whole = torch.empty(shape, dtype=rows[0][0].dtype)
        for number, row in enumerate(rows):
            high = shape[1] // len(row)
            for place, item in enumerate(row):
                whole[number, place * high : (place + 1) * high] = item.read()
        return whole

    return read
