"""Keys and values of several sequences in one set of tensors, which any of them may join or leave.

All sequences end in the same column, so that one forward pass adds a token to each of them and
transformers' own masks hold, as with prompts that are padded on the left::

    row 0   . . a a a a a
    row 1   . . . . b b b        the edge is behind the last column
    row 2   c c c c c c c

A sequence that joins is copied to the edge, one that leaves makes room for the last row. Columns
are taken in steps, so that nothing is copied while there is room. Sliding windows keep all keys
here and are left to the mask. Must not know what the sequences are.

Letters: B rows, H key heads, C columns, N new columns, D head width.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)
from transformers.configuration_utils import PreTrainedConfig

LEAST_SPARE_COLUMNS = 64
Owner = TypeVar("Owner")


class _Geometry:
    """Where the sequences are; shared by all layers."""

    def __init__(self) -> None:
        self.starts: list[int] = []  # first column of each row
        self.edge = 0  # column behind the last token
        self.new = 0  # columns of the forward pass that is under way
        self.room = 0  # rows that the tensors have
        self.columns = 0  # columns that they have

    @property
    def left(self) -> int:
        return min(self.starts)

    @property
    def width(self) -> int:
        return self.edge - self.left if self.starts else 0


class _Layer(DynamicLayer):  # type: ignore[misc] # transformers ships no types
    """Keys and values of one layer, (B, H, C, D) with room to spare."""

    def __init__(self, geometry: _Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def reserve(self, keys: Tensor, values: Tensor) -> None:
        """Take new tensors, for keys and values like these (_, H, _, D)."""
        rows, columns = self.geometry.room, self.geometry.columns
        # Zeros, because a masked value counts zero times, which of a NaN is NaN.
        self.keys = keys.new_zeros((rows, keys.shape[1], columns, keys.shape[3]))
        self.values = values.new_zeros((rows, values.shape[1], columns, values.shape[3]))
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write (B, H, N, D) behind the edge and return all that may be seen."""
        if not self.is_initialized:
            self.reserve(key_states, value_states)
        at = self.geometry
        rows, stop = len(at.starts), at.edge + at.new
        self.keys[:rows, :, at.edge : stop] = key_states
        self.values[:rows, :, at.edge : stop] = value_states
        return self.keys[:rows, :, at.left : stop], self.values[:rows, :, at.left : stop]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of keys and the first one's place."""
        return self.geometry.width + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of keys before this forward pass."""
        return self.geometry.width


class Slots(Generic[Owner]):
    """Rows with their owners.

    Args:
        layers: attention layers of the language model.

    Attributes:
        owners: whose each row is.
    """

    def __init__(self, layers: int) -> None:
        self.owners: list[Owner] = []
        self._at = _Geometry()
        self._layers = [_Layer(self._at) for _ in range(layers)]
        self.cache: Cache = Cache(layers=self._layers)

    @classmethod
    def of_prompts(
        cls,
        layers: int,
        owners: list[Owner],
        lengths: list[int],
        done: list[Prefix | None],
        new: int,
    ) -> Slots[Owner]:
        """Return rows for prompts of which the last `new` columns are to be computed.

        Args:
            layers: attention layers of the language model.
            owners: whose each row is.
            lengths: tokens of each prompt.
            done: keys and values of each prompt's beginning; None where all is new. It holds at
                least the tokens before the last `new`.
            new: columns that are to be computed.
        """
        made = cls(layers)
        edge = max(lengths)
        made.owners = list(owners)
        made._at.starts = [edge - length for length in lengths]
        made._at.edge = edge - new
        made._at.columns, made._at.room = edge + LEAST_SPARE_COLUMNS, len(owners)
        for row, (prefix, length) in enumerate(zip(done, lengths, strict=True)):
            known = length - new
            if prefix is None or known <= 0:
                continue
            start = made._at.starts[row]
            for layer, (key, value) in zip(made._layers, prefix.layers, strict=True):
                if not layer.is_initialized:
                    layer.reserve(key, value)
                layer.keys[row, :, start : start + known] = key[0, :, :known]
                layer.values[row, :, start : start + known] = value[0, :, :known]
        return made

    def __len__(self) -> int:
        """Return the number of rows in use."""
        return len(self.owners)

    @property
    def width(self) -> int:
        """Columns from the first token of the longest row to the edge."""
        return self._at.width

    @property
    def bytes(self) -> int:
        """Memory of all keys and values."""
        return sum(
            one.numel() * one.element_size()
            for layer in self._layers
            if layer.is_initialized
            for one in (layer.keys, layer.values)
        )

    @property
    def bytes_per_token(self) -> int:
        """Memory of one column of one row; 0 before the first forward pass."""
        return self.bytes // max(1, self._at.room * self._at.columns)

    def begin(self, new: int) -> None:
        """Have room for so many more columns and let the forward pass write there."""
        if self._at.edge + new > self._at.columns:
            self._move(rows=self._at.room, width=self.width, new=new)
        self._at.new = new

    def end(self) -> None:
        """Count what the forward pass has written as there."""
        self._at.edge += self._at.new
        self._at.new = 0

    def mask(self, device: torch.device) -> Tensor | None:
        """Return int64 (B, C), tokens of the forward pass that are not padding; None if all are."""
        at = self._at
        left = at.left
        if all(start == left for start in at.starts):
            return None
        columns = torch.arange(left, at.edge + at.new, device=device)
        starts = torch.tensor(at.starts, device=device)
        return (columns[None] >= starts[:, None]).long()

    def drop(self, row: int) -> None:
        """Free a row; the last row takes its place."""
        last = len(self.owners) - 1
        at = self._at
        if row != last:
            start = at.starts[last]
            for layer in self._layers:
                for one in (layer.keys, layer.values):
                    one[row, :, start : at.edge] = one[last, :, start : at.edge]
            at.starts[row] = at.starts[last]
            self.owners[row] = self.owners[last]
        at.starts.pop()
        self.owners.pop()

    def take(self, other: Slots[Owner]) -> None:
        """Let all rows of another one, which is not used any more, join."""
        rows, width = len(self) + len(other), max(self.width, other.width)
        if rows > self._at.room or other.width > self._at.edge:
            self._move(rows=max(rows, 2 * self._at.room), width=width, new=1)
        at, there = self._at, other._at
        first, left = len(self), there.left
        for mine, theirs in zip(self._layers, other._layers, strict=True):
            for to, source in ((mine.keys, theirs.keys), (mine.values, theirs.values)):
                to[first:rows, :, at.edge - other.width : at.edge] = source[
                    : len(other), :, left : there.edge
                ]
        at.starts += [at.edge - (there.edge - start) for start in there.starts]
        self.owners += other.owners

    def prefix(self, row: int) -> Prefix:
        """Return a copy of one row."""
        at = self._at
        cut = (slice(row, row + 1), slice(None), slice(at.starts[row], at.edge))
        return Prefix([(one.keys[cut].clone(), one.values[cut].clone()) for one in self._layers])

    def _move(self, *, rows: int, width: int, new: int) -> None:
        """Move to tensors of so many rows, with `width` columns before the edge and some behind."""
        at = self._at
        spare = max(LEAST_SPARE_COLUMNS, width // 2, new)
        count, left, shift = len(self), at.left, width - at.edge
        at.room, at.columns = rows, width + spare
        for layer in self._layers:
            old = layer.keys, layer.values
            layer.reserve(*old)
            for source, to in zip(old, (layer.keys, layer.values), strict=True):
                to[:count, :, left + shift : width] = source[:count, :, left : at.edge]
        at.starts = [start + shift for start in at.starts]
        at.edge = width


class Solo(Generic[Owner]):
    """One sequence in the cache that transformers makes for its language model.

    It has what the scheduler needs of `Slots`, for language models of which no two sequences may
    share a forward pass.

    Args:
        config: of the language model.
        owner: whose it is.
    """

    def __init__(self, config: PreTrainedConfig, owner: Owner) -> None:
        self.owners = [owner]
        self.cache: Cache = DynamicCache(config=config)
        self.width = 0
        self.bytes = 0  # transformers' caches differ too much to be counted
        self._new = 0

    def __len__(self) -> int:
        """Return the number of rows in use."""
        return len(self.owners)

    def begin(self, new: int) -> None:
        """Announce a forward pass of so many tokens."""
        self._new = new

    def end(self) -> None:
        """Count its tokens."""
        self.width += self._new

    def mask(self, device: torch.device) -> None:
        """Return None: nothing is padding."""

    def drop(self, row: int) -> None:
        """Free the row."""
        self.owners.pop(row)


class Prefix:
    """Keys and values of the beginning of a prompt.

    Args:
        layers: keys and values (1, H, T, D) of each layer.
    """

    def __init__(self, layers: list[tuple[Tensor, Tensor]]) -> None:
        self.layers = layers

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(one.numel() * one.element_size() for pair in self.layers for one in pair)


def shares_rows(config: PreTrainedConfig, *, stateful: bool) -> bool:
    """Say whether sequences of a language model may share one forward pass.

    Full and sliding attention may, because padding is masked. What sums tokens up, such as a state
    space or linear attention, would add padding to its sum; its sequences run one by one.

    Args:
        config: of the language model.
        stateful: transformers' ``_is_stateful`` of the language model's class.
    """
    if stateful:
        return False
    layers = DynamicCache(config=config).layers
    return bool(layers) and all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers
    )
