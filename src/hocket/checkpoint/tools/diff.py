"""How far two folders of weights are apart, tensor by tensor.

Numbers are compared in float64, a few million at a time, so a large table costs no more memory
than the two tables themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hocket.checkpoint.tools.tensors import TensorFolder

_BLOCK = 2**22


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """A tensor that both folders hold with one shape.

    Attributes:
        name: its name.
        most: largest absolute difference; infinite where one side alone is not a number.
        mean: mean absolute difference.
        changed: elements that differ.
        elements: elements in all.
        dtypes: the types on both sides.
    """

    name: str
    most: float
    mean: float
    changed: int
    elements: int
    dtypes: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two folders side by side.

    Attributes:
        tensors: what both hold, sorted by name.
        missing: names that only the first folder has.
        extra: names that only the second folder has.
        reshaped: name -> the two shapes, where they differ.
    """

    tensors: tuple[TensorDifference, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @property
    def changed(self) -> list[TensorDifference]:
        """Tensors with a difference or another type, the largest difference first."""
        found = [one for one in self.tensors if one.changed or len(set(one.dtypes)) > 1]
        return sorted(found, key=lambda one: (-one.most, one.name))

    @property
    def same(self) -> bool:
        """Whether names, shapes, types and all numbers agree."""
        return not (self.missing or self.extra or self.reshaped or self.changed)


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Compare every tensor of two folders.

    Raises:
        CheckpointError: one of them holds no readable safetensors.
    """
    a, b = TensorFolder.open(first), TensorFolder.open(second)
    ours, theirs = set(a.names()), set(b.names())
    tensors, reshaped = [], {}
    for name in sorted(ours & theirs):
        left, right = a.info(name), b.info(name)
        if left.shape != right.shape:
            reshaped[name] = (left.shape, right.shape)
            continue
        most, total, changed = _distance(a.read(name), b.read(name))
        tensors.append(
            TensorDifference(
                name=name,
                most=most,
                mean=total / max(left.elements, 1),
                changed=changed,
                elements=left.elements,
                dtypes=(_plain(left.dtype), _plain(right.dtype)),
            )
        )
    return Comparison(
        tensors=tuple(tensors),
        missing=tuple(sorted(ours - theirs)),
        extra=tuple(sorted(theirs - ours)),
        reshaped=reshaped,
    )


def _distance(a: Tensor, b: Tensor) -> tuple[float, float, int]:
    """Return the largest and the summed absolute difference, and how many elements differ."""
    most, total, changed = 0.0, 0.0, 0
    left, right = _flat(a), _flat(b)
    for start in range(0, left.numel(), _BLOCK):
        x = left[start : start + _BLOCK].to(torch.float64)
        y = right[start : start + _BLOCK].to(torch.float64)
        equal = (x == y) | (x.isnan() & y.isnan())
        gap = torch.where(equal, 0.0, (x - y).abs()).nan_to_num(nan=math.inf, posinf=math.inf)
        most = max(most, float(gap.max()))
        total += float(gap.sum())
        changed += int((~equal).sum())
    return most, total, changed


def _flat(tensor: Tensor) -> Tensor:
    """Return real numbers in a row; a complex one is two of them."""
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.reshape(-1)


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
