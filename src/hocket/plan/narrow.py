"""What torch's autocast does, on shapes: ``torch.autocast`` itself passes over the device ``meta``.

Matrix products, convolutions and attention cast what they are given to bfloat16; everything else
computes in what it gets, so norms, sums along the layers and the loss stay float32. Copies of
weights that train are kept to the end of the forward pass, as autocast's cache keeps them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

_NARROW = ("linear", "conv1d", "conv2d", "conv3d", "scaled_dot_product_attention")


class Copies:
    """Copies of weights that autocast has made and keeps."""

    def __init__(self) -> None:
        self._kept: dict[int, Tensor] | None = {}

    def end_forward(self) -> None:
        """Give them up; what is computed again later keeps none."""
        self._kept = None

    def of(self, value: Any) -> Any:
        """Return a float32 tensor in bfloat16, anything else as it is."""
        if not isinstance(value, Tensor) or value.dtype is not torch.float32:
            return value
        if self._kept is None or not (value.requires_grad and value.is_leaf):
            return value.to(torch.bfloat16)
        key = id(value)
        if key not in self._kept:
            self._kept[key] = value.to(torch.bfloat16)
        return self._kept[key]


@contextmanager
def narrowed() -> Iterator[Copies]:
    """Compute as under autocast, on any device."""
    copies = Copies()
    with ExitStack() as stack:
        # A TorchFunctionMode would be off in the backward pass, where blocks run again.
        for name in _NARROW:
            own = _casting(vars(nn.functional)[name], copies)
            stack.enter_context(patch.object(nn.functional, name, own))
        yield copies


def _casting(function: Callable[..., Tensor], copies: Copies) -> Callable[..., Tensor]:
    @functools.wraps(function)
    def narrow(*args: Any, **kwargs: Any) -> Tensor:
        cast = [copies.of(one) for one in args]
        return function(*cast, **{name: copies.of(one) for name, one in kwargs.items()})

    return narrow
