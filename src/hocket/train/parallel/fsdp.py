"""FSDP2: each process holds a share of every weight and gathers a block's while it computes.

The model that the rest of the trainer knows, saves and merges adapters in stays whole, in host
memory; what trains is a copy cut into shares. Before a save, and at the end of a stage, the shares
are gathered weight by weight, so no device ever holds more than one whole weight and one block.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor, distribute_tensor

from hocket._compat import reduce_unused_gradients
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.train.parallel import FsdpSpec, dtype_of
from hocket.train.parallel.blocks import blocks_of


class ShardedModel:
    """A copy of a model in shares.

    Attributes:
        whole: the model in host memory; its trained weights are as old as the last `gather`.
        live: the copy that trains.

    Args:
        whole: equal in every process.
        world: number of processes.
        device: where this process computes.
        spec: number formats and offloading.
    """

    def __init__(
        self,
        whole: HocketForConditionalGeneration,
        *,
        world: int,
        device: torch.device,
        spec: FsdpSpec,
    ) -> None:
        self.whole = whole
        self.live = copy.deepcopy(whole)
        self._root = cut_into_shares(self.live, world=world, device=device, spec=spec)
        reduce_unused_gradients(self._root)

    def in_shares(self) -> HocketForConditionalGeneration:
        """Return the copy with every weight in shares: a forward pass leaves some gathered."""
        self._root.reshard()
        return self.live

    def gather(self) -> None:
        """Bring the trained weights of the whole model up to date; every process calls it."""
        live = dict(self.in_shares().named_parameters())
        with torch.no_grad():
            for name, value in self.whole.named_parameters():
                if value.requires_grad:
                    value.copy_(gathered(live[name]))

    def scatter(self) -> None:
        """Give every process its share of the whole model's weights."""
        live = dict(self.in_shares().named_parameters())
        with torch.no_grad():
            for name, value in self.whole.named_parameters():
                if value.requires_grad:
                    live[name].copy_(placed_like(value.detach(), live[name]))


def cut_into_shares(
    model: HocketForConditionalGeneration, *, world: int, device: torch.device, spec: FsdpSpec
) -> FSDPModule:
    """Cut a model, equal in every process, into shares in place; return it as FSDP's root.

    Arguments are those of `ShardedModel`.
    """
    mesh = init_device_mesh(device.type, (world,))
    computed = dtype_of(spec.compute_dtype)
    reduced = dtype_of(spec.reduce_dtype)
    offload = OffloadPolicy()
    if spec.cpu_offload:
        offload = CPUOffloadPolicy(pin_memory=device.type == "cuda")
    for block in blocks_of(model):
        fully_shard(
            block,
            mesh=mesh,
            reshard_after_forward=spec.reshard,
            mp_policy=MixedPrecisionPolicy(param_dtype=computed, reduce_dtype=reduced),
            offload_policy=offload,
        )
    # The root's inputs are ids, counts and weights of labels, which must stay exact.
    root: FSDPModule = fully_shard(
        model,
        mesh=mesh,
        mp_policy=MixedPrecisionPolicy(
            param_dtype=computed, reduce_dtype=reduced, cast_forward_inputs=False
        ),
        offload_policy=offload,
    )
    return root


def gathered(value: Tensor) -> Tensor:
    """Return a tensor whole; every process calls it if it is in shares."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def placed_like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return a tensor where its parameter lies, in shares if that is; counters stay whole."""
    if not isinstance(parameter, DTensor):
        return value.to(parameter.device)
    value = value.to(parameter.to_local().device)
    if value.shape != parameter.shape:
        return value
    # Every process holds the whole tensor, so nothing has to be sent.
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
