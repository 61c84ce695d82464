"""A GGUF file before it is written: its keys and its tensors, none of them read yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from hocket.checkpoint.export import Source
from hocket.checkpoint.export._refusal import refusal

TARGET = "gguf"
Value = bool | int | float | str | list[int] | list[float] | list[str]
Change = Callable[[Tensor], Tensor]


class Use(Enum):
    """How many bits llama.cpp takes for a tensor."""

    MATRIX = "matrix"
    """Multiplied with: any type the user chose."""
    KERNEL = "kernel"
    """A convolution over pixels: not in blocks."""
    HALF = "half"
    """A convolution over time: float16 alone."""
    EXACT = "exact"
    """Added, scaled with or looked up: float32 alone."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A tensor of the file.

    Attributes:
        name: its name in the file.
        shape: its shape, the last dimension running fastest.
        read: returns it.
        use: what llama.cpp does with it.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    use: Use


@dataclass(slots=True)
class FilePlan:
    """One file.

    Attributes:
        architecture: llama.cpp's name of what is in it.
        keys: its keys and values, in order.
        pieces: its tensors.
        notes: what the user should know.
    """

    architecture: str
    keys: dict[str, Value] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Place(NamedTuple):
    """Where a tensor goes: its new name, what it is for, and what happens to it on the way."""

    name: str
    use: Use = Use.MATRIX
    change: Change | None = None


def place_tensors(
    source: Source, prefix: str, places: Mapping[str, Place], *, drop: Sequence[str] = ()
) -> list[Piece]:
    """Return a piece for every tensor under a prefix.

    Args:
        source: the checkpoint.
        prefix: start of the names, such as ``model.audio_tower.``.
        places: rest of the name -> where it goes.
        drop: starts of the rest of names that the file leaves out.

    Raises:
        CheckpointError: a tensor has no place, or one that the file needs is missing.
    """
    found = [name for name in source.tensors.names() if name.startswith(prefix)]
    pieces: list[Piece] = []
    for name in found:
        rest = name[len(prefix) :]
        if rest in places:
            pieces.append(_piece(source, name, places[rest]))
        elif not any(rest.startswith(start) for start in drop):
            raise refusal(TARGET, f"the tensor {name}", "it", "only tensors llama.cpp names")
    return pieces


def per_layer(
    places: Mapping[str, Place], layers: int, *, ours: str, theirs: str
) -> dict[str, Place]:
    """Return the places of all layers from those of one.

    Args:
        places: name within a layer -> where it goes; names have ``.weight`` and ``.bias`` behind.
        layers: how many.
        ours: what stands before a layer's number, such as ``encoder.layers.``.
        theirs: the same in the file, such as ``v.blk.``.
    """
    return {
        f"{ours}{layer}.{name}": place._replace(name=f"{theirs}{layer}.{place.name}")
        for layer in range(layers)
        for name, place in places.items()
    }


def with_bias(places: Mapping[str, Place]) -> dict[str, Place]:
    """Return the places of weights and of biases, which are added and so kept exact."""
    made: dict[str, Place] = {}
    for name, place in places.items():
        made[f"{name}.weight"] = place._replace(name=f"{place.name}.weight")
        made[f"{name}.bias"] = place._replace(name=f"{place.name}.bias", use=Use.EXACT)
    return made


def _piece(source: Source, name: str, place: Place) -> Piece:
    info = source.tensors.info(name)
    change = place.change
    if change is None:
        return Piece(place.name, info.shape, lambda: source.tensors.read(name), place.use)
    shape = tuple(change(torch.empty(info.shape, device="meta")).shape)
    return Piece(place.name, shape, lambda: change(source.tensors.read(name)), place.use)
