"""The one writer of a run's checkpoints: training does not wait for the disk.

A thread copies what changes to the host, then writes, hashes and flushes the copy. Weights and
moments change in the optimizer's step alone, so the copy is made behind the next forward and
backward pass, and only that step waits for it. There is one save at a time: a second one waits for
the first. An error of the thread is raised at the next step, at the next save or at the end,
whichever comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from hocket._errors import HocketError
from hocket._log import warn
from hocket.checkpoint.manifest import write_directory
from hocket.train.retention import delete_old

Saved = Callable[[Path], None]


class HostCopy:
    """Copies of tensors in host memory, pinned where there is a CUDA device, and used again."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copy tensors; the copies hold until the next call.

        Args:
            tensors: name -> tensor of any shape; two names of one tensor share a copy.

        Returns:
            name -> copy on the CPU.
        """
        pinned = torch.cuda.is_available()
        copies: dict[str, Tensor] = {}
        seen: dict[tuple[int, torch.Size, tuple[int, ...]], Tensor] = {}
        for name, tensor in tensors.items():
            value = tensor.detach()
            key = (value.data_ptr(), value.shape, value.stride())
            if value.numel() and key in seen:
                copies[name] = seen[key]
            else:
                kept = self._kept.get(name)
                if kept is None or kept.shape != value.shape or kept.dtype != value.dtype:
                    kept = torch.empty(value.shape, dtype=value.dtype, pin_memory=pinned)
                    self._kept[name] = kept
                kept.copy_(value, non_blocking=pinned)
                copies[name] = seen[key] = kept
        if pinned:
            for device in {one.device for one in tensors.values() if one.is_cuda}:
                torch.cuda.synchronize(device)
        return copies


class ModelState(NamedTuple):
    """A model's state dict in two.

    Attributes:
        trained: name -> parameter that the optimizer's next step changes.
        steady: name -> what it does not; buffers, which a forward pass may change, are copies.
    """

    trained: dict[str, Tensor]
    steady: dict[str, Tensor]


def state_of(model: nn.Module) -> ModelState:
    """Return the state of a model at this step."""
    every = model.named_parameters(remove_duplicate=False)
    trains = {name for name, value in every if value.requires_grad}
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    found = ModelState({}, {})
    for name, value in model.state_dict().items():
        kind = found.trained if name in trains else found.steady
        kind[name] = value.clone() if name in buffers else value
    return found


class Saver:
    """Writes checkpoints in a thread, one at a time.

    Leaving the context waits for the last one.

    Args:
        keep: checkpoints kept.
        before: called in the thread before a checkpoint counts: what the disk must hold first.
        on_saved: called with each checkpoint that is on the disk, in the thread of training.
    """

    def __init__(
        self, *, keep: int, before: Callable[[], None], on_saved: Saved | None = None
    ) -> None:
        self._keep, self._before, self._on_saved = keep, before, on_saved
        self._pool: ThreadPoolExecutor | None = None
        self._writing: tuple[Path, Future[None]] | None = None
        self._copied = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.wait()
        except HocketError as failed:
            if error is None:
                raise
            # What ended the run is what the user must see.
            warn(str(failed))

    def start(self, target: Path, fill: Callable[[Path], None]) -> None:
        """Write a checkpoint behind the training's back.

        Args:
            target: its folder.
            fill: writes the files into a folder; calls `copied` when it has copied what the
                optimizer's next step changes, and may read nothing else that training changes.

        Raises:
            MachineError: the save before this one failed.
        """
        self.wait()
        # A thread for each: none may be alive when a stage forks its workers.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hocket-save")
        self._copied.clear()
        self._writing = (target, self._pool.submit(self._write, target, fill))

    def copied(self) -> None:
        """Let training change weights and moments again."""
        self._copied.set()

    def wait_for_copy(self) -> None:
        """Wait until the weights and moments of a save under way may change."""
        if self._writing:
            self._copied.wait()

    def check(self) -> None:
        """Raise the error of a save that has ended; do not wait for one that has not.

        Raises:
            MachineError: it failed.
        """
        if self._writing and self._writing[1].done():
            self.wait()

    def wait(self) -> None:
        """Wait until no save is under way.

        Raises:
            MachineError: the last one failed.
        """
        if not self._writing or not self._pool:
            return
        target, future = self._writing
        try:
            future.result()
        finally:
            if future.done():
                self._pool.shutdown()
                self._pool = self._writing = None
        if self._on_saved:
            self._on_saved(target)

    def _write(self, target: Path, fill: Callable[[Path], None]) -> None:
        def fill_and_flush(folder: Path) -> None:
            fill(folder)
            self._before()

        try:
            write_directory(target, fill_and_flush)
        finally:
            self._copied.set()
        delete_old(target.parent, keep=self._keep, newest=target)
