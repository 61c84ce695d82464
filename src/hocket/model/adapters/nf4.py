"""Four bits for the weights that an adapter stands on, while it trains (QLoRA).

A layer's frozen weight is kept as codes of the 4-bit number format NF4, in blocks of 64 with a
scale each, and made whole only while it is used. Source: Dettmers et al., "QLoRA: Efficient
Finetuning of Quantized LLMs", 2023; the kernels are bitsandbytes'.

Scales are kept as they are, not quantised again: the weights that come out of the codes then have
the same codes, so a checkpoint holds plain weights and a resumed run the very codes of before.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hocket._errors import ConfigError, MissingExtraError
from hocket.model.adapters import FORMATS, AdapterSpec

BLOCK = 64
_KIND = "nf4"
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Nf4Linear(nn.Linear):
    """A frozen linear layer, (I) -> (O), whose weight is kept in four bits.

    Its state dict holds the plain weight, in the number format that it came in.

    Args:
        layer: the layer whose weight and bias are taken.
    """

    packed: Tensor
    scales: Tensor
    levels: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias
        self._dtype = layer.weight.dtype
        self._fill(layer.weight.detach())

    @property
    def weight(self) -> Tensor:  # type: ignore[override] # codes take the place of the parameter
        """The weight that the codes stand for, (O, I)."""
        from bitsandbytes.functional import dequantize_4bit

        whole: Tensor = dequantize_4bit(self.packed, self._state())
        return whole

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., I) to (..., O)."""
        import bitsandbytes

        bias = None if self.bias is None else self.bias.to(x.dtype)
        y: Tensor = bitsandbytes.matmul_4bit(
            x, self.packed.t(), quant_state=self._state(), bias=bias
        )
        return y

    def whole(self) -> nn.Linear:
        """Return a plain layer with the weight that the codes stand for."""
        weight = self.weight
        layer = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        layer.weight = nn.Parameter(weight, requires_grad=False)
        layer.bias = self.bias
        return layer

    def _fill(self, weight: Tensor) -> None:
        from bitsandbytes.functional import quantize_4bit

        packed, state = quantize_4bit(
            weight.contiguous(), blocksize=BLOCK, compress_statistics=False, quant_type=_KIND
        )
        for name, value in (("packed", packed), ("scales", state.absmax), ("levels", state.code)):
            self.register_buffer(name, value, persistent=False)

    def _state(self) -> Any:
        from bitsandbytes.functional import QuantState

        return QuantState(
            absmax=self.scales,
            shape=torch.Size((self.out_features, self.in_features)),
            code=self.levels,
            blocksize=BLOCK,
            quant_type=_KIND,
            dtype=self._dtype,
        )

    def _apply(self, fn: Any, recurse: bool = True) -> Nf4Linear:
        """Move to a device; scales stay float32 whatever number format is asked for."""
        before = {name: self._buffers[name] for name in ("scales", "levels")}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call] # torch's own
        for name, value in before.items():
            moved = self._buffers[name]
            if value is not None and moved is not None and moved.dtype != value.dtype:
                self._buffers[name] = value.to(moved.device)
        return self

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        destination[f"{prefix}weight"] = self.weight
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        key = f"{prefix}weight"
        if key in state_dict:
            self._fill(state_dict[key].to(self.packed.device, self._dtype))
        elif strict:
            missing_keys.append(key)
        rest = {name: value for name, value in state_dict.items() if name != key}
        super()._load_from_state_dict(
            rest, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def check_format(name: str, spec: AdapterSpec) -> None:
    """Check that the layers of an adapter can be kept as its spec says.

    Raises:
        ConfigError: there is no such number format.
        MissingExtraError: bitsandbytes is not installed.
    """
    if spec.quantise and spec.quantise not in FORMATS:
        raise ConfigError(
            f"adapter {name!r}: quantise is {spec.quantise!r}. Known: {', '.join(FORMATS)}."
        )
    if spec.quantise and importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "quantise")


def pack(model: nn.Module, name: str, layers: Iterable[str]) -> None:
    """Keep the weights under an adapter in four bits; layers that are so already stay as they are.

    Args:
        model: the composite, the adapter attached.
        name: the adapter.
        layers: names of its layers.

    Raises:
        ConfigError: a layer is not linear, its weight trains, or its number format cannot be.
    """
    for path in layers:
        wrapper: Any = model.get_submodule(path)
        layer = wrapper.base_layer
        if isinstance(layer, Nf4Linear):
            continue
        obstacle = ""
        if type(layer) is not nn.Linear:
            obstacle = f"is a {type(layer).__name__}, no linear layer. Choose other targets"
        elif layer.weight.requires_grad:
            obstacle = "trains too. Take it out of the stage's trainable"
        elif layer.weight.dtype not in _DTYPES:
            obstacle = f"is {layer.weight.dtype}. Leave quantise out"
        if obstacle:
            raise ConfigError(f"adapter {name!r}: quantise is {_KIND}, but {path} {obstacle}.")
        wrapper.base_layer = Nf4Linear(layer)


def unpack(wrapper: Any) -> None:
    """Give the layer under an adapter its plain weight again, where it is kept in four bits."""
    if isinstance(wrapper.base_layer, Nf4Linear):
        wrapper.base_layer = wrapper.base_layer.whole()
