"""MoRA: a square update of high rank with as many parameters as a low-rank one of two factors.

A layer y = W x gets y = W x + f(M g(x)), where M is square, (R, R), g compresses the input to R
numbers and f spreads them over the output. Neither has parameters, so the update is linear in x
and merges exactly. Source: Jiang et al., "MoRA: High-Rank Updating for Parameter-Efficient
Fine-Tuning", 2024.

Letters: I input width, O output width, R side of the square matrix, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from einops import rearrange
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket._options import read_options


@dataclass(frozen=True, slots=True, kw_only=True)
class MoraOptions:
    """Options of MoRA.

    Attributes:
        r: the rank of the LoRA that has as many parameters; the square's side follows from it.
        sharing: ``sum`` adds up groups of inputs, for large `r`; ``rotate`` lets every group go
            through the square by itself, told apart by rotations, for small `r`.
        dropout: share of inputs set to zero while training.
    """

    r: int = 8
    sharing: Literal["sum", "rotate"] = "rotate"
    dropout: float = 0.0


class MoraLinear(nn.Module, BaseTunerLayer):
    """A linear layer with square updates.

    Args:
        base_layer: the layer, (I) -> (O).
    """

    adapter_layer_names = ("mora_m",)
    other_param_names = ("mora_options",)

    def __init__(self, base_layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.mora_m = nn.ParameterDict()
        self.mora_options: dict[str, MoraOptions] = {}
        self.merged_adapters: list[str] = []
        self._active_adapter: list[str] = []

    def add(self, name: str, options: MoraOptions) -> None:
        """Add an update that starts as zero.

        Raises:
            ConfigError: the rank is below 1.
        """
        inside, outside = self.base_layer.in_features, self.base_layer.out_features
        side = math.isqrt((inside + outside) * options.r)
        if options.sharing == "rotate":
            side -= side % 2  # turned in pairs
        if side < 1:
            raise ConfigError(f"adapter {name!r}: r is {options.r}, expected at least 1.")
        weight = self.base_layer.weight
        dtype = weight.dtype if weight.is_floating_point() else torch.float32
        self.mora_m[name] = nn.Parameter(weight.new_zeros(side, side, dtype=dtype))
        self.mora_options[name] = options

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., I) to (..., O)."""
        y = self.base_layer(x)
        if self.disable_adapters or self.merged:
            return y
        for name in self.active_adapters:
            if name in self.mora_m:
                dropped = nn.functional.dropout(
                    x, self.mora_options[name].dropout, training=self.training
                )
                y = y + self._update(name, dropped).to(y.dtype)
        return y

    def get_delta_weight(self, name: str) -> Tensor:
        """Return what an update adds to the layer's weight, (O, I)."""
        square = self.mora_m[name]
        identity = torch.eye(self.base_layer.in_features, device=square.device, dtype=square.dtype)
        return self._update(name, identity).T

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add updates to the layer's weight.

        Raises:
            ValueError: an update is not finite.
        """
        for name in adapter_names or self.active_adapters:
            if name not in self.mora_m:
                continue
            merged = self.base_layer.weight.data + self.get_delta_weight(name).detach()
            if safe_merge and not torch.isfinite(merged).all():
                raise ValueError(f"the adapter {name} holds numbers that are not finite")
            self.base_layer.weight.data = merged
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Take back what was merged."""
        while self.merged_adapters:
            name = self.merged_adapters.pop()
            self.base_layer.weight.data -= self.get_delta_weight(name).detach()

    def _update(self, name: str, x: Tensor) -> Tensor:
        """Map (..., I) to the update's (..., O)."""
        square, outside = self.mora_m[name], self.base_layer.out_features
        side = len(square)
        groups = -(-x.shape[-1] // side)
        x = nn.functional.pad(x.to(square.dtype), (0, groups * side - x.shape[-1]))
        parts = rearrange(x, "... (g r) -> ... g r", r=side)
        if self.mora_options[name].sharing == "sum":
            y = parts.sum(dim=-2) @ square.T
            copies = -(-outside // side)
            return y.repeat(*(1,) * (y.ndim - 1), copies)[..., :outside]
        y = rearrange(_turn(parts) @ square.T, "... g r -> ... (g r)")
        copies = -(-outside // y.shape[-1])
        return y.repeat(*(1,) * (y.ndim - 1), copies)[..., :outside]


def read_mora(options: Mapping[str, object]) -> MoraOptions:
    """Return MoRA's options.

    Raises:
        ConfigError: one is wrong.
    """
    return read_options("adapter", MoraOptions, {"kind": "mora", **options})


def inject(
    model: nn.Module, name: str, *, targets: Sequence[str], options: Mapping[str, object]
) -> dict[str, object]:
    """Add MoRA to linear layers of a model and return its configuration.

    Raises:
        ConfigError: a target is no linear layer, or an option is wrong.
    """
    chosen = read_mora(options)
    for target in targets:
        layer: Any = model.get_submodule(target)
        if isinstance(layer, nn.Linear):
            layer = MoraLinear(layer)
            model.set_submodule(target, layer)
        if not isinstance(layer, MoraLinear):
            raise ConfigError(
                f"adapter {name!r}: MoRA needs linear layers, and {target} is a "
                f"{type(layer).__name__}. Choose other targets."
            )
        layer.add(name, chosen)
    return {"peft_type": "MORA", **asdict(chosen)}


def _turn(parts: Tensor) -> Tensor:
    """Turn pairs of (..., G, R) by angles that grow with the group, as rotary positions do."""
    groups, side = parts.shape[-2:]
    rates = 10000.0 ** (-torch.arange(0, side, 2, device=parts.device) / side)
    angles = torch.outer(torch.arange(groups, device=parts.device), rates)
    cos, sin = angles.cos().to(parts.dtype), angles.sin().to(parts.dtype)
    a, b = parts[..., : side // 2], parts[..., side // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
