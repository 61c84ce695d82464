"""The only file that touches accelerate: device, processes, gradients across them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn

from hocket._env import world_size
from hocket.model.modeling import HocketForConditionalGeneration


class Runtime:
    """One process of a run.

    Attributes:
        rank: number of this process.
        world: number of processes.
        device: where this process computes.
    """

    def __init__(self) -> None:
        # A rank's rows may hold no picture or no sound, and a tower read at an inner layer has
        # parameters that no loss reaches. Those that no rank used keep no gradient at all, so that
        # AdamW passes over them as it does in a single process.
        absent = DistributedDataParallelKwargs(find_unused_parameters=True)
        # Left alone, accelerate joins processes on accelerators only: on CPUs each would train by
        # itself, into the same folder.
        kind = torch.accelerator.current_accelerator(check_available=True)
        on_cpus = world_size() > 1 and (kind is None or kind.type == "mps")
        self._accelerator = Accelerator(cpu=on_cpus, kwargs_handlers=[absent])
        self.rank: int = self._accelerator.process_index
        self.world: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def prepare(self, model: HocketForConditionalGeneration) -> nn.Module:
        """Move the model to the device; wrap it when several processes share the work."""
        return self._accelerator.prepare_model(model)

    def without_sync(self, model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Skip the exchange of gradients in all but the last micro-batch of a step."""
        return nullcontext() if last else self._accelerator.no_sync(model)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the loss."""
        self._accelerator.backward(loss)

    def sum_over_ranks(self, value: float | Tensor) -> Tensor:
        """Return the sum of a number over all processes, float64 ()."""
        tensor = torch.as_tensor(value, dtype=torch.float64, device=self.device)
        return self._accelerator.reduce(tensor, "sum") if self.world > 1 else tensor

    def clip(self, parameters: list[nn.Parameter], max_norm: float) -> Tensor:
        """Scale gradients down to `max_norm` and return their norm before, float32 ()."""
        return torch.nn.utils.clip_grad_norm_(parameters, max_norm)

    def wait(self) -> None:
        """Wait until every process is here."""
        self._accelerator.wait_for_everyone()
