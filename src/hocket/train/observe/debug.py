"""`hocket train --debug`: where a number stops being finite, every parameter, memory, and traces.

Everything goes into ``debug/`` of the run's folder. The numbers of the run stay what they are.

* anomaly mode of torch: the first backward pass that makes a NaN ends the run, and the line of the
  forward pass that it belongs to is printed;
* ``parameters-STAGE.tsv``: every parameter, what trains, and the norms of the stage's first step;
* ``memory.jsonl``: memory of process, machine and GPU behind each step;
* ``trace-STAGE-STEP.json``: a trace of the chosen steps for chrome://tracing or Perfetto.

Source: the debugging section of the VITA development guide.
"""

from __future__ import annotations

import csv
import json
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from hocket._errors import TrainingError
from hocket.checkpoint.manifest import machine_error
from hocket.train.observe.measure import KINDS, part_of
from hocket.train.state import TrainState

FOLDER = "debug"


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugSpec:
    """What to look at.

    Attributes:
        trace_steps: steps of each stage that are traced, from 1.
    """

    trace_steps: tuple[int, ...] = (3,)


class Debugger:
    """Looks closely at a run while the context is open.

    Args:
        out: the run's folder.
        spec: what to look at.
        device: where this process computes.
        writes: whether this process writes files; of several only the first does.
    """

    def __init__(self, out: Path, spec: DebugSpec, device: torch.device, *, writes: bool) -> None:
        self._folder, self._spec, self._device, self._writes = out / FOLDER, spec, device, writes
        self._before = False
        self._profiler: profile | None = None
        self._model: nn.Module | None = None
        self._at = TrainState("")

    def __enter__(self) -> Self:
        self._before = torch.is_anomaly_enabled()
        torch.autograd.set_detect_anomaly(True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        torch.autograd.set_detect_anomaly(self._before)
        self._stop_trace(None)
        # torch has no error of its own for this.
        if isinstance(error, RuntimeError) and "returned nan values" in str(error):
            raise TrainingError(
                f"stage {self._at.stage!r} step {self._at.step + 1}: {error} Torch's warning above "
                "shows the line of the forward pass; the weights were not touched."
            ) from error

    def open_stage(self, model: nn.Module) -> None:
        """Take the model that a stage trains."""
        self._model = model

    def begin(self, state: TrainState) -> None:
        """Start a trace if the step behind this state is to be traced."""
        self._at = state
        if self._writes and state.step + 1 in self._spec.trace_steps:
            kinds = [ProfilerActivity.CPU]
            if self._device.type == "cuda":
                kinds.append(ProfilerActivity.CUDA)
            self._profiler = profile(activities=kinds, record_shapes=True)
            self._profiler.start()

    def end(self, state: TrainState, norms: Mapping[str, Mapping[str, float]]) -> None:
        """Write what the step has shown.

        Args:
            state: the run behind the step.
            norms: parameter -> its norms, as `Measure.parameters`.

        Raises:
            MachineError: the folder cannot be written.
        """
        self._stop_trace(state)
        if not self._writes:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._model is not None:
                self._write_parameters(self._model, state.stage, norms)
                self._model = None
            line = {"stage": state.stage, "step": state.step} | memory_report(self._device)
            with (self._folder / "memory.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise machine_error(self._folder, error) from error

    def _stop_trace(self, state: TrainState | None) -> None:
        """End a trace; it is kept if its step is complete."""
        if self._profiler is None:
            return
        self._profiler.stop()
        if state is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = f"trace-{state.stage}-{state.step:06}.json"
            self._profiler.export_chrome_trace(str(self._folder / name))
        self._profiler = None

    def _write_parameters(
        self, model: nn.Module, stage: str, norms: Mapping[str, Mapping[str, float]]
    ) -> None:
        heads = ["parameter", "part", "shape", "dtype", "device", "trains", *KINDS]
        with (self._folder / f"parameters-{stage}.tsv").open("w", encoding="utf-8") as file:
            table = csv.writer(file, delimiter="\t", lineterminator="\n")
            table.writerow(heads)
            for name, value in model.named_parameters():
                known = norms.get(name, {})
                shape = "x".join(str(size) for size in value.shape)
                place = [name, part_of(name), shape, str(value.dtype), str(value.device)]
                measured = [f"{known[kind]:.6g}" if kind in known else "" for kind in KINDS]
                table.writerow([*place, "yes" if value.requires_grad else "no", *measured])


def memory_report(device: torch.device) -> dict[str, int]:
    """Return bytes in use: of this process, its peak, of the machine, and of a CUDA device."""
    machine = psutil.virtual_memory()
    found = {
        "process": int(psutil.Process().memory_info().rss),
        "process_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "machine_used": int(machine.used),
        "machine_total": int(machine.total),
    }
    if device.type == "cuda":
        found["device"] = torch.cuda.memory_allocated(device)
        found["device_peak"] = torch.cuda.max_memory_allocated(device)
        found["device_reserved"] = torch.cuda.memory_reserved(device)
    return found
