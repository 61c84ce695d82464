"""Memory for the encoder inputs of a batch, laid out before they are made.

The examples of a batch are decoded one by one. Where each keeps a tensor of its own until the batch
copies them all, the kernel hands out every page twice, 4 kB at a time, which takes longer than
decoding a JPEG file does. Here they go one behind the other into one array for each modality, in
memory that batches before had, and `hocket.tokens.batch` takes that as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from hocket.tokens.example import Example, Outline
from hocket.tokens.span import Modality
from hocket.tokens.spare import SpareMemory


class UnitRoom:
    """Takes the encoder inputs of one batch.

    Args:
        outlines: the examples that the batch will hold, or more.
        spare: memory of batches that are gone.
    """

    def __init__(self, outlines: Iterable[Outline], spare: SpareMemory) -> None:
        self._spare = spare
        self._units = dict.fromkeys(Modality, 0)
        for outline in outlines:
            for span in outline.spans:
                self._units[span.modality] += span.units
        self._arrays: dict[Modality, Tensor] = {}
        self._used = dict.fromkeys(Modality, 0)

    def take(self, example: Example) -> Example:
        """Return the example with its encoder inputs behind those that were taken before."""
        return replace(
            example,
            images=self._moved(Modality.IMAGE, example.images),
            frames=self._moved(Modality.VIDEO, example.frames),
            sounds=self._moved(Modality.AUDIO, example.sounds),
        )

    def _moved(self, kind: Modality, units: Tensor | None) -> Tensor | None:
        """Copy units into the room; those of another shape than the first stay as they are."""
        if units is None:
            return None
        whole = self._arrays.get(kind)
        if whole is None:
            whole = self._arrays[kind] = self._spare.like(self._units[kind], units)
        start = self._used[kind]
        stop = start + len(units)
        if (whole.dtype, whole.shape[1:]) != (units.dtype, units.shape[1:]) or stop > len(whole):
            return units
        self._used[kind] = stop
        return whole[start:stop].copy_(units)


def joined(parts: list[Tensor]) -> Tensor:
    """Join tensors along the first axis, without a copy where they lie one behind the other."""
    first = parts[0]
    memory, at = first.untyped_storage().data_ptr(), first.storage_offset()
    for part in parts:
        follows = part.untyped_storage().data_ptr() == memory and part.storage_offset() == at
        if not (follows and part.is_contiguous() and part.shape[1:] == first.shape[1:]):
            return torch.cat(parts)
        at += part.numel()
    size = (sum(map(len, parts)), *first.shape[1:])
    return first.as_strided(size, first.stride())
