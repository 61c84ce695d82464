"""Counts the memory and the work of code that runs on the device ``meta``, which has no numbers.

The model's own forward and backward pass run on shapes alone. Every storage that an operation makes
is counted from its birth to its end, so activations, recomputation, logits and gradients are those
of the code that trains and of no formula beside it. The method is that of
``torch.distributed._tools.MemTracker``; operations are counted by torch's own `FlopCounterMode`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

_ATEN = torch.ops.aten
_ATTEND = _ATEN._scaled_dot_product_flash_attention_for_cpu
_ATTEND_BACK = _ATEN._scaled_dot_product_flash_attention_for_cpu_backward
_WORK = {
    **flop_registry,
    _ATTEND: lambda q, k, v, *_, **__: sdpa_flop_count(q.shape, k.shape, v.shape),
    _ATTEND_BACK: lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(
        grad.shape, q.shape, k.shape, v.shape
    ),
}
_INDEXED = (_ATEN.index.Tensor, _ATEN._unsafe_index.Tensor)


@dataclass(slots=True)
class _Size:
    """Bytes of a storage that count among what is alive."""

    bytes: int


class Meter(TorchDispatchMode):
    """Follows the bytes of everything that is made on ``meta`` while it is active.

    Attributes:
        live: bytes that exist now, gradients left out.
        gradients: bytes of parameters' gradients that exist now.
        peak: most bytes that ever existed together, gradients included.
        live_peak: most bytes that ever existed together, gradients left out.
        flops: floating-point operations of matrix products and attention so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch ships it untyped
        self.live = self.gradients = self.peak = self.live_peak = self.flops = 0
        self._sizes: weakref.WeakKeyDictionary[Any, _Size] = weakref.WeakKeyDictionary()

    def know(self, tensor: Tensor) -> None:
        """Leave out a tensor that was there before, such as a weight."""
        self._sizes[tensor.untyped_storage()] = _Size(0)

    def restart_peak(self) -> None:
        """Look for the next peaks from here on."""
        self.peak, self.live_peak = self.live + self.gradients, self.live

    def hold_gradient(self, parameter: Tensor) -> None:
        """Count the parameter's gradient as one; called behind its accumulation."""
        assert parameter.grad is not None
        size = self._sizes.get(parameter.grad.untyped_storage())
        if size is not None:
            # It is counted apart from here on, so its end must not be counted with the rest.
            self.live -= size.bytes
            self.gradients += size.bytes
            size.bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation and count what it made."""
        args, kwargs = _on_one_device(func, args, _kept_known(func, args, dict(kwargs or {})))
        made = func(*args, **kwargs)
        if (work := _WORK.get(func.overloadpacket)) is not None:
            self.flops += int(work(*args, **kwargs, out_val=made))
        for value in tree_flatten(made)[0]:
            if isinstance(value, Tensor) and value.device.type == "meta":
                self._count(value)
        return made

    def _count(self, value: Tensor) -> None:
        storage = value.untyped_storage()
        if storage in self._sizes:
            return
        size = _Size(storage.nbytes())
        self._sizes[storage] = size
        weakref.finalize(storage, self._forget, size).atexit = False
        self.live += size.bytes
        self.live_peak = max(self.live_peak, self.live)
        self.peak = max(self.peak, self.live + self.gradients)

    def _forget(self, size: _Size) -> None:
        self.live -= size.bytes


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attend as the fused kernels do, which keep no (T, T) weights for the backward pass.

    On ``meta`` torch would fall back to the plain formula. A mask of booleans becomes one of
    numbers in each call and is kept, as torch itself does it (`convert_boolean_attn_mask`).
    """
    if query.device.type != "meta":
        return scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = (one.repeat_interleave(times, -3) for one in (key, value))
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype)
    flat = query.ndim == 3
    if flat:
        query, key, value = (one[None] for one in (query, key, value))
    out: Tensor = _ATTEND(
        query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale
    )[0]
    return out[0] if flat else out


def _kept_known(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Leave whole numbers where they are known: how many rows a sound has depends on them."""
    device = kwargs.get("device")
    if device is None or torch.device(device).type != "meta":
        return kwargs
    counts = func.overloadpacket is _ATEN.arange and not any(isinstance(one, float) for one in args)
    whole = func is _ATEN._to_copy.default and not (
        args[0].is_floating_point() or args[0].device.type == "meta"
    )
    dtype = kwargs.get("dtype")
    if (counts or whole) and (dtype is None or not dtype.is_floating_point):
        return {**kwargs, "device": torch.device("cpu")}
    return kwargs


def _on_one_device(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Bring numbers of the processor beside shapes of the model, as a real step does on entry."""
    flat, shape = tree_flatten((args, kwargs))
    devices = {one.device.type for one in flat if isinstance(one, Tensor) and one.ndim}
    if devices != {"meta", "cpu"}:
        return args, kwargs
    if func in _INDEXED:
        # How many positions a mask chooses is known only where its numbers are.
        args = (args[0], [_positions(one) for one in _flat_indices(args[1])])
        flat, shape = tree_flatten((args, kwargs))
    moved = [one.to("meta") if isinstance(one, Tensor) and one.ndim else one for one in flat]
    found: tuple[tuple[Any, ...], dict[str, Any]] = tree_unflatten(moved, shape)
    return found


def _flat_indices(indices: Sequence[Tensor | None]) -> Iterator[Tensor | None]:
    """Yield the indices with each mask of several axes as one of positions for each axis."""
    for one in indices:
        if one is not None and one.dtype is torch.bool and one.device.type == "cpu":
            yield from one.nonzero(as_tuple=True)
        else:
            yield one


def _positions(index: Tensor | None) -> Tensor | None:
    return None if index is None else index.to("meta")


@contextmanager
def metered(model: nn.Module) -> Iterator[Meter]:
    """Count everything that a model on ``meta`` makes, and the operations that it takes.

    Args:
        model: its weights, buffers and gradients are told apart from what it makes.
    """
    meter = Meter()
    for tensor in (*model.parameters(), *model.buffers()):
        meter.know(tensor)
    hooks = [
        parameter.register_post_accumulate_grad_hook(meter.hold_gradient)
        for parameter in model.parameters()
        if parameter.requires_grad
    ]
    try:
        with ExitStack() as stack:
            # A TorchFunctionMode would be off in the backward pass, where blocks run again.
            stack.enter_context(
                patch.object(nn.functional, "scaled_dot_product_attention", _attend)
            )
            yield stack.enter_context(meter)
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad(set_to_none=True)
