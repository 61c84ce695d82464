"""The only file that touches accelerate: device, processes, gradients across them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from hocket._env import accelerate_precision, world_size
from hocket._errors import ConfigError
from hocket._log import warn
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.sequence import SequenceSpec
from hocket.model.sequence.group import SequenceGroup, open_group
from hocket.train.heap import keep_freed_memory
from hocket.train.parallel import ComputeDtype, FsdpSpec, Sharding
from hocket.train.parallel.watchdog import Watchdog
from hocket.train.parallel.zero import ZeroModel


class Join(Protocol):
    """Gives a batch what other ranks' batches have."""

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the batch with what it lacks; every rank calls it for each micro-batch."""
        ...

    def end_step(self) -> None:
        """Take gradients away that no rank's batches have given; every rank calls it."""
        ...


class Runtime:
    """One process of a run.

    Attributes:
        rank: number of this process.
        world: number of processes.
        device: where this process computes.
        sequence: the processes that share this one's rows; None when each has its own.
        data_rank: number of this process among those with other rows.
        data_world: into how many parts the rows of a step are cut.
        join: gives a batch what other ranks' batches have; None where nobody waits for that.
        zero: what DeepSpeed trains; None without it.
        watchdog: ends the process when a step takes too long; None waits for ever.

    Args:
        sequence: how many processes share a row; None for one.
        sharding: what processes with other rows share.
        fsdp: options of ``fsdp``.
        compute_dtype: number format of `computing`; with ``fsdp`` that of its options holds.

    Raises:
        ConfigError: that many do not divide the processes of the run, there are too many or too
            few of them for the sharding, or the device lacks the number format.
    """

    def __init__(
        self,
        sequence: SequenceSpec | None = None,
        sharding: Sharding = Sharding.DDP,
        fsdp: FsdpSpec | None = None,
        compute_dtype: ComputeDtype = ComputeDtype.FLOAT32,
    ) -> None:
        # A rank's rows may hold no picture or no sound, and a tower read at an inner layer has
        # parameters that no loss reaches. Those that no rank used keep no gradient at all, so that
        # AdamW passes over them as it does in a single process.
        absent = DistributedDataParallelKwargs(find_unused_parameters=True)
        # Left alone, accelerate joins processes on accelerators only: on CPUs each would train by
        # itself, into the same folder.
        kind = torch.accelerator.current_accelerator(check_available=True)
        on_cpus = world_size() > 1 and (kind is None or kind.type == "mps")
        handlers: list[object] = [absent]
        if fsdp and fsdp.cpu_offload and kind is not None and kind.type == "cuda":
            # The norm of gradients in host memory is added up there.
            handlers.append(InitProcessGroupKwargs(backend="cpu:gloo,cuda:nccl"))
        # Told always: untold, accelerate takes its own from the environment.
        self._accelerator = Accelerator(mixed_precision="no", cpu=on_cpus, kwargs_handlers=handlers)
        self.rank: int = self._accelerator.process_index
        self.world: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device
        if self.device.type == "cpu":
            keep_freed_memory()
        self._sharding = sharding
        self._narrow = compute_dtype is ComputeDtype.BFLOAT16 and not sharding.cuts_weights
        _check_format(self.device, compute_dtype, tell=self.is_main)
        if (sharding is Sharding.NONE) != (self.world == 1) and sharding is not Sharding.DDP:
            raise ConfigError(
                f"train.sharding is {sharding}, but the run has {self.world} process(es). Set ddp, "
                "which takes any number, or start another number with hocket launch."
            )
        self.join: Join | None = None
        self.zero: ZeroModel | None = None
        self.watchdog: Watchdog | None = None
        degree = sequence.degree if sequence else 1
        self.data_rank, self.data_world = self.rank // degree, self.world // degree
        self.sequence: SequenceGroup | None = None
        if sequence and degree > 1:
            if not dist.is_initialized():
                raise ConfigError(
                    f"train.sequence_parallel shares a row among {degree} processes, but the run "
                    f"has one. Start it with hocket launch or torchrun --nproc-per-node {degree}."
                )
            self.sequence = open_group(sequence, self.device)

    @property
    def is_main(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    @property
    def sharing(self) -> dict[str, SequenceGroup]:
        """What the model's ``forward`` is told about processes that share its rows."""
        return {} if self.sequence is None else {"sequence": self.sequence}

    def begin_step(self, step: int) -> None:
        """Tell the watchdog that a step begins."""
        if self.watchdog is not None:
            self.watchdog.begin(step)

    def have(self, samples: Sequence[str]) -> None:
        """Tell the watchdog which samples the step has."""
        if self.watchdog is not None:
            self.watchdog.have(samples)

    def note(self, phase: str) -> None:
        """Tell the watchdog what this process does now."""
        if self.watchdog is not None:
            self.watchdog.note(phase)

    def prepare(self, model: HocketForConditionalGeneration) -> nn.Module:
        """Move the model to the device; wrap it when several processes share the work."""
        if self.zero is not None:
            return self.zero.engine
        if self._sharding is Sharding.FSDP:
            return model
        return self._accelerator.prepare_model(model)

    def joined(
        self, inputs: dict[str, Tensor], weights: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return a batch and its labels' weights (B, T) with what other ranks' batches have."""
        self.note("forward pass")
        if self.join is None:
            return inputs, weights
        found = self.join(inputs | {"loss_weights": weights})
        return found, found.pop("loss_weights")

    def computing(self) -> AbstractContextManager[object]:
        """Compute a forward pass in the run's number format; weights stay as they are.

        Not accelerate's own way: that changes the model's ``forward`` for good, for its previews
        and exams as well, and knows nothing of the reference of a stage of preferences.
        """
        if not self._narrow:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def without_sync(self, model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Skip the exchange of gradients in all but the last micro-batch of a step."""
        if self.zero is not None:
            self.zero.boundary(last=last)
        if last or self._sharding.cuts_weights:
            # Shares of each micro-batch's gradients are added up: to wait would keep them whole.
            return nullcontext()
        return self._accelerator.no_sync(model)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the loss."""
        self.note("backward pass")
        (self.zero or self._accelerator).backward(loss)

    def sum_over_ranks(self, value: float | Tensor) -> Tensor:
        """Return the sum of a number over all rows, float64 (); who shares rows counts once."""
        return self.sum_over_processes(value) * self.data_world / self.world

    def sum_over_processes(self, value: float | Tensor) -> Tensor:
        """Return the sum of a number over all processes, float64 ()."""
        self.note("adding up over all processes")
        tensor = torch.as_tensor(value, dtype=torch.float64, device=self.device)
        return self._accelerator.reduce(tensor, "sum") if self.world > 1 else tensor

    def clip(self, parameters: list[nn.Parameter], max_norm: float) -> Tensor:
        """Scale gradients down to `max_norm` and return their norm before, float32 ()."""
        if self.join is not None:
            self.join.end_step()
        self.note("clipping gradients")
        if self.zero is not None:
            return self.zero.clip(max_norm)
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def all_finite(self, tensors: Iterable[Tensor]) -> bool:
        """Return whether every number of some tensors is finite in every process."""
        own = [one.to_local() if isinstance(one, DTensor) else one.detach() for one in tensors]
        largest = torch.nn.utils.get_total_norm([one for one in own if one.numel()], math.inf)
        return not float(self.sum_over_processes(float(not math.isfinite(largest))))

    def wait(self) -> None:
        """Wait until every process is here."""
        self.note("waiting for all processes")
        self._accelerator.wait_for_everyone()


def _check_format(device: torch.device, chosen: ComputeDtype, *, tell: bool) -> None:
    """Check that a device has the number format; say that accelerate's variable is not used."""
    narrow = chosen is ComputeDtype.BFLOAT16
    if narrow and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError(
            f"train.compute_dtype is {chosen}, which this GPU cannot compute in. Set float32."
        )
    asked = accelerate_precision()
    if tell and asked not in ("", _ACCELERATE[chosen]):
        warn(
            f"ACCELERATE_MIXED_PRECISION={asked} is not used: train.compute_dtype is {chosen}. "
            "Set that one."
        )


_ACCELERATE = {
    ComputeDtype.FLOAT32: "no",
    ComputeDtype.BFLOAT16: "bf16",
    ComputeDtype.FLOAT16: "fp16",
}
