"""DeepSpeed's own ZeRO-2 and ZeRO-3 beneath this trainer's loop; needs the extra ``deepspeed``.

DeepSpeed cuts into shares, exchanges gradients and lets AdamW step on its share. The loss and its
mean, groups and rates, clipping, what happens to a bad batch, and checkpoints stay this trainer's.
As with FSDP2, the model that is saved stays whole in host memory. DeepSpeed steps a whole group of
parameters at once, so each of them gets a gradient in each step, if only zeros, and AdamW moves
what no sample of a step has reached by its decay and its momentum: `hocket.train.parallel.join`.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hocket._errors import CheckpointError, MissingExtraError, TrainingError
from hocket.model.modeling import HocketForConditionalGeneration

_MOMENTS = ("exp_avg", "exp_avg_sq")


class ZeroModel:
    """A copy of a model that DeepSpeed trains.

    Attributes:
        whole: the model in host memory; its trained weights are as old as the last `gather`.
        live: the copy that trains.
        engine: DeepSpeed's, which is called in the model's place; from `start` on.

    Args:
        whole: equal in every process.
        options: DeepSpeed's configuration, without ``auto``.
    """

    engine: nn.Module

    def __init__(
        self, whole: HocketForConditionalGeneration, *, options: Mapping[str, Any]
    ) -> None:
        self.whole = whole
        self.live = copy.deepcopy(whole)
        self._options = dict(options)
        self._optimizer: ZeroAdamW | None = None

    def start(self, shown: torch.optim.Optimizer) -> ZeroAdamW:
        """Hand the model over to DeepSpeed; every process calls it.

        Args:
            shown: AdamW over the parameters of `live`.

        Returns:
            what takes its place; its groups are the same.
        """
        groups = [{**group, "params": list(group["params"])} for group in shown.param_groups]
        inner = torch.optim.AdamW(groups, fused=True)
        with _quiet() as deepspeed:
            self.engine, *_ = deepspeed.initialize(
                model=self.live, optimizer=inner, config=self._options
            )
        stage = int(self._options["zero_optimization"]["stage"])
        self._optimizer = ZeroAdamW(shown, inner, self.engine, stage=stage)
        return self._optimizer

    def in_shares(self) -> HocketForConditionalGeneration:
        """Return the copy that trains."""
        return self.live

    def gather(self) -> None:
        """Bring the trained weights of the whole model up to date; every process calls it."""
        own = self._running()
        live = dict(self.live.named_parameters())
        with torch.no_grad():
            for name, value in self.whole.named_parameters():
                if value.requires_grad:
                    value.copy_(own.weight(live[name]))

    def scatter(self) -> None:
        """Take the whole model's weights over; every process calls it."""
        own = self._running()
        live = dict(self.live.named_parameters())
        for name, value in self.whole.named_parameters():
            if value.requires_grad:
                own.set_weight(live[name], value.detach())

    def boundary(self, *, last: bool) -> None:
        """Say whether the next micro-batch is the last of its step."""
        self.engine.set_gradient_accumulation_boundary(last)  # type: ignore[operator] # DeepSpeed's

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the loss, averaged over processes."""
        self.engine.backward(loss, scale_wrt_gas=False)  # type: ignore[operator] # DeepSpeed's

    def clip(self, max_norm: float) -> Tensor:
        """Scale gradients down as `torch.nn.utils.clip_grad_norm_` does; return their norm."""
        gradients = self._running().gradients()
        squares = [torch.linalg.vector_norm(one, dtype=torch.float64).square() for one in gradients]
        total = torch.stack(squares).sum()
        dist.all_reduce(total)
        norm = total.sqrt()
        scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for one in gradients:
            one.mul_(scale)
        return norm.float()

    def close(self) -> None:
        """Take DeepSpeed's hooks away."""
        if self._optimizer is not None:
            self._optimizer = None
            self.engine.destroy()  # type: ignore[operator] # DeepSpeed's

    def _running(self) -> ZeroAdamW:
        assert self._optimizer is not None, "start comes first"
        return self._optimizer


class ZeroAdamW(torch.optim.Optimizer):
    """AdamW as the trainer knows it, parameter by parameter, over shares that DeepSpeed holds.

    Its `state` holds only what was read from a checkpoint and waits for the next step.

    Args:
        shown: the optimizer whose groups it takes over.
        inner: the one that DeepSpeed has been given.
        engine: DeepSpeed's.
        stage: 2 or 3.
    """

    def __init__(
        self, shown: torch.optim.Optimizer, inner: torch.optim.AdamW, engine: Any, *, stage: int
    ) -> None:
        super().__init__(shown.param_groups, shown.defaults)
        self._inner, self._engine, self._zero = inner, engine, engine.optimizer
        self._whole_weights = stage == 2
        # Stage 2 and 3 name the same thing differently: this process's share of each group.
        self._shares: list[Tensor] = (
            self._zero.single_partition_of_fp32_groups
            if self._whole_weights
            else self._zero.fp32_partitioned_groups_flat
        )
        self._offloads = bool(
            self._zero.cpu_offload if self._whole_weights else self._zero.offload_optimizer
        )
        for share in self._shares:
            known = inner.state[share]
            known["step"] = torch.zeros((), dtype=torch.float32, device=share.device)
            known |= {kind: torch.zeros_like(share, requires_grad=False) for kind in _MOMENTS}
        if self._whole_weights:
            # DeepSpeed does so behind the first group's first step, when others have no moments.
            self._zero._lazy_init_hp_params_optimizer_state()

    def step(self, closure: None = None) -> None:  # type: ignore[override] # no closure, no loss
        """Let each process's AdamW step on its share, with the rates of these groups.

        Raises:
            TrainingError: DeepSpeed has left the step out.
        """
        self._take_over()
        for group, own in zip(self.param_groups, self._inner.param_groups, strict=True):
            own["lr"] = group["lr"]
        self._engine.step()
        if not self._engine.was_step_applied():
            raise TrainingError(
                "DeepSpeed has left a step out whose gradients are finite. Lower lr, or set "
                "train.sharding=fsdp."
            )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of a step that is not taken; of one that was, none are left."""
        zero = self._zero
        zero.zero_grad(set_to_none=True)
        if self._offloads:
            zero.reset_cpu_buffers()
        if self._whole_weights:
            zero.micro_step_id, zero._offload_accumulated_param_ids = -1, set()
            for kept in (zero.averaged_gradients, zero.all_grad_tensors):
                kept.update(dict.fromkeys(kept))
        else:
            zero._offload_boundary_param_ids = set()
            zero.averaged_gradients = {}

    def gradients(self) -> list[Tensor]:
        """Return this process's share of the averaged gradients."""
        if not self._offloads:
            return [one for group in self._zero.averaged_gradients.values() for one in group]
        if torch.cuda.is_available():
            # They may still be on their way to host memory.
            torch.cuda.synchronize()
        return [one.grad for one in self._shares if one.grad is not None]

    def own_tensors(self) -> list[Tensor]:
        """Return all that a step changes, as far as this process has it."""
        known = [self._inner.state[one] for one in self._shares]
        return [*self._shares, *(one[kind] for one in known for kind in _MOMENTS)]

    def moments(self) -> dict[str, Tensor]:
        """Return ``kind:parameter`` -> tensor on the CPU, whole; every process calls it."""
        from deepspeed.utils import safe_get_full_optimizer_state

        self._take_over()
        found: dict[str, Tensor] = {}
        count = self._inner.state[self._shares[0]]["step"]
        for name, value in self._named():
            for kind in _MOMENTS:
                whole = safe_get_full_optimizer_state(value, kind)
                found[f"{kind}:{name}"] = whole.to("cpu", value.dtype).reshape(self._shape(value))
            found[f"step:{name}"] = count.detach().cpu().clone()
        return found

    def weight(self, value: nn.Parameter) -> Tensor:
        """Return a trained weight whole; every process calls it."""
        from deepspeed.utils import safe_get_full_fp32_param

        if self._whole_weights:
            return value.detach()
        whole: Tensor = safe_get_full_fp32_param(value)
        return whole

    def set_weight(self, value: nn.Parameter, whole: Tensor) -> None:
        """Set a trained weight; every process calls it."""
        import deepspeed
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

        whole = whole.to(self._shares[0].device)
        if self._whole_weights:
            value.data.copy_(whole)
            safe_set_full_fp32_param(value, whole)
            return
        with deepspeed.zero.GatheredParameters([value], modifier_rank=0):
            value.data.copy_(whole)
        safe_set_local_fp32_param(value, self._share(value, whole))

    def _take_over(self) -> None:
        """Move what was read from a checkpoint into DeepSpeed's shares.

        Raises:
            CheckpointError: parameters have seen different numbers of steps.
        """
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        if not self.state:
            return
        known = [self.state.get(value, {}) for _, value in self._named()]
        counts = {float(one["step"]) if one else 0.0 for one in known}
        if len(counts) > 1:
            raise CheckpointError(
                f"the checkpoint's parameters have seen {min(counts):g} to {max(counts):g} steps, "
                "but DeepSpeed has one counter for all. Go on with the sharding that wrote it, or "
                "start into another folder."
            )
        for share in self._shares:
            self._inner.state[share]["step"].fill_(*counts)
        for _, value in self._named():
            for kind in _MOMENTS:
                whole = self.state[value][kind].to(self._shares[0].device)
                if self._whole_weights:
                    safe_set_full_optimizer_state(value, whole, kind)
                else:
                    safe_set_local_optimizer_state(value, self._share(value, whole), kind)
        self.state.clear()

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        for group in self.param_groups:
            yield from zip(group["names"], group["params"], strict=True)

    def _shape(self, value: nn.Parameter) -> torch.Size:
        shape: torch.Size = value.shape if self._whole_weights else value.ds_shape  # type: ignore[attr-defined] # DeepSpeed's
        return shape

    def _share(self, value: nn.Parameter, whole: Tensor) -> Tensor:
        """Return this process's share of a tensor; the last one ends in zeros."""
        size: int = value.ds_tensor.numel()  # type: ignore[attr-defined] # DeepSpeed's
        flat = whole.flatten()
        padded = torch.nn.functional.pad(flat, (0, size * dist.get_world_size() - flat.numel()))
        return padded.narrow(0, size * dist.get_rank(), size)


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Import DeepSpeed; what it prints goes to standard error, and of its log warnings alone."""
    # Said of DeepSpeed's calls, step by step.
    warnings.filterwarnings("ignore", ".*torch.distributed.* is deprecated", FutureWarning)
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import deepspeed
        except ImportError:
            raise MissingExtraError("deepspeed", "deepspeed") from None
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        # It would be compiled here and now, which needs a compiler, and only inference calls it.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        yield deepspeed
