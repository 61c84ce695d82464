"""How processes share a model, its gradients or its weights as well, and what they compute in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch

from hocket._errors import ConfigError


class Sharding(StrEnum):
    """What processes with different rows share.

    ``none`` refuses to start several; ``ddp`` gives each the whole model and averages gradients;
    ``fsdp`` (FSDP2, as ZeRO-3) gives each a share of weights, gradients and optimizer;
    ``deepspeed`` lets DeepSpeed itself do so, by ZeRO-2 or ZeRO-3.
    """

    NONE = "none"
    DDP = "ddp"
    FSDP = "fsdp"
    DEEPSPEED = "deepspeed"

    @property
    def cuts_weights(self) -> bool:
        """Whether what trains is a copy in shares, beside a whole model in host memory."""
        return self in (Sharding.FSDP, Sharding.DEEPSPEED)


class ComputeDtype(StrEnum):
    """Number format of a forward and backward pass; weights, gradients and moments keep theirs.

    ``float16`` is known and refused: its gradients need a scale that nothing here keeps.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True, slots=True, kw_only=True)
class FsdpSpec:
    """Options of ``sharding: fsdp``.

    Attributes:
        compute_dtype: number format of weights and activations while they are used: ``float32``,
            ``bfloat16`` or ``float16``; empty takes ``train.compute_dtype``, and the weights' own
            where that is float32.
        reduce_dtype: number format in which gradients are averaged; empty keeps the weights' own.
        cpu_offload: whether weights, gradients and optimizer rest in host memory.
        reshard: whether a block's weights are given up between its forward and backward pass, as
            ZeRO-3 does; off keeps them, as ZeRO-2 does.
    """

    compute_dtype: str = ""
    reduce_dtype: str = ""
    cpu_offload: bool = False
    reshard: bool = True

    def __post_init__(self) -> None:
        """Check the number formats."""
        for name in (self.compute_dtype, self.reduce_dtype):
            if name and name not in _DTYPES:
                raise ConfigError(
                    f"train.fsdp: {name!r} is no number format for it. Known: {', '.join(_DTYPES)}."
                )


def dtype_of(name: str) -> torch.dtype | None:
    """Return the number format of that name; None for an empty one."""
    return _DTYPES[name] if name else None


_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
