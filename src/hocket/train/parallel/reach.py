"""Which parameters of a model in shares a backward pass has reached.

FSDP fills the gradients of parameters that a process has not used with zeros. AdamW would let those
decay, while in a single process they have no gradient. A gradient that is there and zero, such as
that of LoRA's first factor in its first step, is another matter: AdamW counts that step.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from hocket.model.modeling import HocketForConditionalGeneration
from hocket.train.parallel.blocks import blocks_of


class _Place(NamedTuple):
    """A trained parameter: its name, and where a module keeps it, whole or in shares."""

    name: str
    owner: nn.Module
    attribute: str


class Reach:
    """Notes which trained parameters get a gradient in this process.

    Args:
        live: a model that was cut into shares.
    """

    def __init__(self, live: HocketForConditionalGeneration) -> None:
        self._reached: set[str] = set()
        self._watched: dict[str, weakref.ref[Tensor]] = {}
        places = {place.name: place for place in _places(live)}
        units: list[nn.Module] = [*blocks_of(live), live]
        for block in units:
            prefix = next(f"{name}." for name, one in live.named_modules() if one is block)
            prefix = prefix.lstrip(".")
            own = [places.pop(name) for name in list(places) if name.startswith(prefix)]
            # Behind FSDP's own hook, which makes the weights whole.
            block.register_forward_pre_hook(partial(self._watch, own))

    def take(self) -> set[str]:
        """Return the names of what was reached since the last call."""
        found, self._reached = self._reached, set()
        return found

    @torch.compiler.disable  # type: ignore[untyped-decorator] # torch's own
    def _watch(self, own: list[_Place], module: nn.Module, inputs: object) -> None:
        for name, owner, attribute in own:
            value = owner._parameters[attribute]
            seen = self._watched.get(name)
            if value is None or isinstance(value, DTensor) or (seen and seen() is value):
                continue
            if value.requires_grad:
                value.register_hook(partial(self._note, name))
                self._watched[name] = weakref.ref(value)

    def _note(self, name: str, gradient: Tensor) -> None:
        self._reached.add(name)


def _places(live: nn.Module) -> Iterator[_Place]:
    trained = {name for name, value in live.named_parameters() if value.requires_grad}
    for path, module in live.named_modules():
        for attribute in module._parameters:
            name = f"{path}.{attribute}".lstrip(".")
            if name in trained:
                yield _Place(name, module, attribute)
