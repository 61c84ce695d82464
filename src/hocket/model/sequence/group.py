"""The processes that share a row, and the tokens of it that each of them holds.

The mesh is data x ring x ulysses, so Ulysses groups are neighbours and a ring joins the processes
at the same place of each group, as in VILA. A row is padded to a multiple of what divides it.

Letters: B rows, T tokens of a row, N tokens of one process.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from hocket._errors import ConfigError
from hocket.model.sequence import RingKind, SequenceSpec


@dataclass(frozen=True, slots=True)
class SequenceGroup:
    """The processes that share this process's rows.

    Attributes:
        spec: the degrees.
        mesh: data x ring x ulysses.
        whole: everyone who shares the rows.
        rank: number of this process among them.
    """

    spec: SequenceSpec
    mesh: DeviceMesh
    whole: dist.ProcessGroup
    rank: int

    @property
    def ulysses(self) -> dist.ProcessGroup:
        """The processes that share the heads."""
        return self.mesh.get_group("ulysses")

    @property
    def ring(self) -> dist.ProcessGroup:
        """The processes that pass keys and values on."""
        return self.mesh.get_group("ring")

    def places(self, length: int, *, ring_rank: int) -> Tensor:
        """Return int64 (R,), the places of rows of `length` tokens that one Ulysses group holds.

        Places from `length` on are padding. Process i of the group holds the i-th equal piece.
        """
        ring, ulysses = self.spec.ring, self.spec.ulysses
        pieces = 2 if self.spec.ring_kind is RingKind.ZIGZAG and ring > 1 else 1
        size = -(-length // (ring * ulysses * pieces)) * ulysses
        cut = torch.arange(size * ring * pieces).view(ring * pieces, size)
        own = [ring_rank] if pieces == 1 else [ring_rank, 2 * ring - 1 - ring_rank]
        return cut[own].flatten()

    def own_places(self, length: int) -> Tensor:
        """Return int64 (N,), the places of rows of `length` tokens that this process holds."""
        here = self.places(length, ring_rank=self.mesh.get_local_rank("ring"))
        return here.chunk(self.spec.ulysses)[self.mesh.get_local_rank("ulysses")]


def open_group(spec: SequenceSpec, device: torch.device) -> SequenceGroup:
    """Arrange all processes of the run so that neighbours share rows.

    Raises:
        ConfigError: the degrees do not divide the processes.
    """
    world = dist.get_world_size()
    if world % spec.degree:
        raise ConfigError(
            f"train.sequence_parallel shares a row among {spec.ulysses} x {spec.ring} processes, "
            f"but the run has {world}. Start a multiple of {spec.degree}."
        )
    shape = (world // spec.degree, spec.ring, spec.ulysses)
    mesh = init_device_mesh(device.type, shape, mesh_dim_names=("data", "ring", "ulysses"))
    together = mesh["ring", "ulysses"]._flatten("sequence")
    return SequenceGroup(spec, mesh, together.get_group(), together.get_local_rank())


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """This process's tokens of one batch, and what each may see.

    Attributes:
        group: the processes that share the rows.
        own: int64 (N,), the places held here.
        length: T, without padding.
        samples: int64 (B, T padded), number of the packed sample at each place; -1 for padding.
    """

    group: SequenceGroup
    own: Tensor
    length: int
    samples: Tensor
    _masks: dict[int, Tensor] = field(default_factory=dict)

    def cut(self, x: Tensor, *, fill: float = 0) -> Tensor:
        """Return the columns held here of (B, T, ...) as (B, N, ...)."""
        return _padded(x, self.samples.shape[1], fill)[:, self.own]

    def cut_shifted(self, x: Tensor, *, fill: float = 0) -> Tensor:
        """Return (B, N + 1) whose column i + 1 is what stands behind this process's token i."""
        behind = _padded(x, self.samples.shape[1] + 1, fill)[:, self.own + 1]
        return nn.functional.pad(behind, (1, 0), value=fill)

    def places_of(self, ring_rank: int) -> Tensor:
        """Return int64 (R,), the places that a Ulysses group holds together."""
        return self.group.places(self.length, ring_rank=ring_rank).to(self.samples.device)

    def seen(self, queries: Tensor, keys: Tensor, window: int) -> Tensor:
        """Return bool (B, 1, Q, K): which keys queries at these places see.

        Args:
            queries: int64 (Q,) places.
            keys: int64 (K,) places.
            window: how many tokens back; 0 for all.
        """
        behind = queries[:, None] - keys[None, :]
        near = behind >= 0
        if window:
            near = near & (behind < window)
        same = self.samples[:, queries, None] == self.samples[:, None, keys]
        return rearrange(same & near, "b q k -> b 1 q k")

    def whole_mask(self, window: int) -> Tensor:
        """Return the mask where a Ulysses group holds the whole row; it is made once."""
        if window not in self._masks:
            places = self.places_of(0)
            self._masks[window] = self.seen(places, places, window)
        return self._masks[window]


def shard_rows(
    group: SequenceGroup | None, positions: Tensor | None, mask: Tensor | None
) -> Shard | None:
    """Return this process's part of packed rows; None where each process has its own rows.

    Args:
        group: the processes that share the rows.
        positions: int64 (B, T), which restart at 0 with each sample.
        mask: must be None: only packed rows are shared.

    Raises:
        ConfigError: the rows are padded.
    """
    if group is None:
        return None
    if positions is None or mask is not None:
        raise ConfigError(
            "sequence parallel takes packed rows, with position_ids and without attention_mask. "
            "Make the batch with pack_batch, or leave the sequence group out."
        )
    samples = (positions == 0).long().cumsum(dim=1)
    length = positions.shape[1]
    own = group.own_places(length).to(positions.device)
    total = len(own) * group.spec.degree
    return Shard(group, own, length, _padded(samples, total, -1))


def _padded(x: Tensor, length: int, fill: float) -> Tensor:
    more = length - x.shape[1]
    if not more:
        return x
    return torch.cat([x, x.new_full((len(x), more, *x.shape[2:]), fill)], dim=1)
