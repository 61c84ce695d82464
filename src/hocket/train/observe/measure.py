"""Norms of a step, by part of the model and by parameter, and how long media rows are beside text.

A step that is not looked at costs two comparisons. Gradients are measured as they were before they
were clipped. How far AdamW moved a parameter is computed from its moments, so that no copy of the
weights is needed: it is the move before it is rounded to the weights' number format.

Source of the record of each parameter: the VITA development guide (norm, norm of the gradient) and
Ovis's ``monitor_step``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.hooks import RemovableHandle

from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.names import PARTS
from hocket.train.loop import Measured
from hocket.train.runtime import Runtime
from hocket.train.state import TrainState
from hocket.train.trainable import Trainable

KINDS = ("gradient", "update", "weight")
HISTOGRAM_VALUES = 65_536
_PART_OF = {path.removeprefix("model."): name for name, path in PARTS.items()}
_PART_OF |= {"lm_head": "language", "image_arrange": "connector"}


class Looked(NamedTuple):
    """One parameter of the optimizer.

    Attributes:
        name: its name.
        value: it.
        group: its options in the optimizer.
    """

    name: str
    value: nn.Parameter
    group: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Which steps are measured, and what is known of them.

    Attributes:
        max_norm: norm that gradients are clipped to.
        pad_id: token that pads rows.
        log_every: steps between norms; 0 for none.
        monitor_step: steps between records of each parameter; 0 for none.
        histograms: whether anybody wants them.
    """

    max_norm: float
    pad_id: int | None
    log_every: int
    monitor_step: int
    histograms: bool = False


class Measure:
    """The probe of a stage.

    Attributes:
        parameters: name -> norms of weight, gradient and update, in steps that `monitor_step`
            names; empty in others.
        histograms: ``gradient/PART`` and ``weight/PART`` -> float32 (N,) some of the values, taken
            at even distances, in the same steps.

    Args:
        model: what trains, in shares or whole.
        optimizer: AdamW over its parameters, whose groups name them.
        chosen: the stage's groups.
        runtime: adds up over processes; all of them measure the same steps.
        when: which steps, and what is known of them.
    """

    def __init__(
        self,
        model: HocketForConditionalGeneration,
        optimizer: torch.optim.Optimizer,
        chosen: Sequence[Trainable],
        runtime: Runtime,
        when: When,
    ) -> None:
        self._optimizer, self._runtime, self._when = optimizer, runtime, when
        self._looked = [
            Looked(name, value, group)
            for group in optimizer.param_groups
            for name, value in zip(group["names"], group["params"], strict=True)
        ]
        self._in_shares = any(isinstance(one.value, DTensor) for one in self._looked)
        owner = {name: one.name for one in chosen for name in (*one.decayed, *one.plain)}
        self._groups = [(owner[group["names"][0]], group) for group in optimizer.param_groups]
        self._lengths = _Lengths(model, runtime, when.pad_id)
        self._process = psutil.Process()
        self._step = 0
        self.parameters: dict[str, dict[str, float]] = {}
        self.histograms: dict[str, np.ndarray] = {}

    def begin(self, state: TrainState) -> None:
        """Decide what the next step is looked at for."""
        self._step = state.step + 1
        self.parameters, self.histograms = {}, {}
        if self._looks:
            self._lengths.watch()

    def updated(self, grad_norm: float) -> Measured:
        """Measure the step; every process calls it."""
        lr = {name: float(group["lr"]) for name, group in self._groups}
        if not self._looks and not self._monitors:
            return Measured(lr, {}, {})
        norms = self._norms(grad_norm)
        if self._monitors:
            self.parameters = {
                one.name: {
                    kind: float(f"{norm:.6g}") for kind, norm in zip(KINDS, row, strict=True)
                }
                for one, row in zip(self._looked, np.sqrt(norms).tolist(), strict=True)
            }
            if self._when.histograms:
                self.histograms = self._values(self._unclipped(grad_norm))
        found = self._by_part(norms) | self._lengths.means() if self._looks else {}
        return Measured(lr, found, self._memory())

    @property
    def _looks(self) -> bool:
        """Whether norms belong into this step's line; the first of a stage has them too."""
        every = self._when.log_every
        return every > 0 and (self._step == 1 or self._step % every == 0)

    @property
    def _monitors(self) -> bool:
        every = self._when.monitor_step
        return every > 0 and self._step % every == 0

    def _unclipped(self, grad_norm: float) -> float:
        """Return what clipped gradients are multiplied with to be what they were."""
        # The small number is that of torch.nn.utils.clip_grad_norm_.
        return max(1.0, (grad_norm + 1e-6) / self._when.max_norm)

    @torch.no_grad()
    def _norms(self, grad_norm: float) -> np.ndarray:
        """Return squared norms of gradient, update and weight, float64 (parameters, 3)."""
        scale = self._unclipped(grad_norm) ** 2
        rows = [self._squares(one, scale) for one in self._looked]
        found = torch.stack(rows).to(self._runtime.device)
        if self._in_shares:
            found = self._runtime.sum_over_processes(found)
        return found.cpu().numpy()

    def _squares(self, one: Looked, scale: float) -> Tensor:
        value = _local(one.value)
        nothing = torch.zeros((), dtype=torch.float64, device=value.device)
        if one.value.grad is None:
            # AdamW passes over it.
            return torch.stack([nothing, nothing, _square(value)])
        gradient = _square(_local(one.value.grad)) * scale
        return torch.stack([gradient, _square(self._update(one, value)), _square(value)])

    def _update(self, one: Looked, value: Tensor) -> Tensor:
        """Return what AdamW added to a parameter in its last step, float32 of its shape."""
        kept, group = self._optimizer.state[one.value], one.group
        first, second = group["betas"]
        steps = _local(kept["step"]).to(value.device)
        mean = _local(kept["exp_avg"]).float() / (1 - first**steps)
        spread = (_local(kept["exp_avg_sq"]).float() / (1 - second**steps)).sqrt_()
        moved = mean.div_(spread.add_(group["eps"])).mul_(group["lr"])
        if not group["weight_decay"]:
            return moved
        shrunk = group["lr"] * group["weight_decay"]
        before = (value.float() + moved) / (1 - shrunk)
        return moved.add_(before, alpha=shrunk)

    def _by_part(self, norms: np.ndarray) -> dict[str, float]:
        parts = [part_of(one.name) for one in self._looked]
        found = {}
        for at, kind in enumerate(KINDS):
            for part in dict.fromkeys(parts):
                mine = [number for number, name in enumerate(parts) if name == part]
                found[f"{kind}/{part}"] = float(np.sqrt(norms[mine, at].sum()))
        return found

    @torch.no_grad()
    def _values(self, scale: float) -> dict[str, np.ndarray]:
        """Return values of weights and gradients of each part; of shares, this process's."""
        sizes: dict[str, int] = {}
        for one in self._looked:
            part = part_of(one.name)
            sizes[part] = sizes.get(part, 0) + one.value.numel()
        found: dict[str, list[np.ndarray]] = {}
        for one in self._looked:
            part = part_of(one.name)
            every = max(1, sizes[part] // HISTOGRAM_VALUES)
            found.setdefault(f"weight/{part}", []).append(_thin(one.value, every))
            if one.value.grad is not None:
                found.setdefault(f"gradient/{part}", []).append(_thin(one.value.grad, every))
        whole = {name: np.concatenate(pieces) for name, pieces in found.items()}
        return {
            name: values * np.float32(scale if name.startswith("gradient") else 1.0)
            for name, values in whole.items()
        }

    def _memory(self) -> dict[str, float]:
        """Return bytes of this process in host memory and, if there is one, on the device."""
        found = {"process": float(self._process.memory_info().rss)}
        if self._runtime.device.type == "cuda":
            device = self._runtime.device
            found["device"] = float(torch.cuda.memory_allocated(device))
            found["device_peak"] = float(torch.cuda.max_memory_allocated(device))
        return found


class _Lengths:
    """Mean length of the rows that the language model gets: of words and of each kind of media."""

    def __init__(
        self, model: HocketForConditionalGeneration, runtime: Runtime, pad_id: int | None
    ) -> None:
        self._model, self._runtime, self._pad_id = model.model, runtime, pad_id
        config = model.config
        self._tokens = {
            "image": config.image_token_id,
            "video": config.video_token_id,
            "audio": config.audio_token_id,
        }
        self._ids: Tensor | None = None
        self._handles: list[RemovableHandle] = []
        self._sums = torch.zeros(0)

    def watch(self) -> None:
        """Look at every forward pass until `means` is called."""
        self._drop()
        shape = (2, 1 + len(self._tokens))
        self._sums = torch.zeros(shape, dtype=torch.float64, device=self._runtime.device)
        self._handles = [
            self._model.register_forward_pre_hook(self._see_ids, with_kwargs=True),
            self._model.language_model.register_forward_pre_hook(self._see_rows, with_kwargs=True),
        ]

    def means(self) -> dict[str, float]:
        """Return mean norms over the step on all processes, of the kinds that it has."""
        self._drop()
        total, count = self._runtime.sum_over_processes(self._sums).cpu()
        names = ("text", *self._tokens)
        return {
            f"embedding/{name}": float(total[at] / count[at])
            for at, name in enumerate(names)
            if count[at]
        }

    def _drop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._ids = [], None

    def _see_ids(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._ids = args[0] if args else kwargs.get("input_ids")

    def _see_rows(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows, ids, shard = kwargs.get("inputs_embeds"), self._ids, kwargs.get("sequence")
        if rows is None or ids is None:
            return
        with torch.no_grad():
            ids = ids if shard is None else shard.cut(ids)
            lengths = rows.detach().float().norm(dim=-1).double()
            media = [ids == token for token in self._tokens.values()]
            words = ~torch.stack(media).any(dim=0)
            if self._pad_id is not None:
                words &= ids != self._pad_id
            for at, places in enumerate([words, *media]):
                self._sums[0, at] += (lengths * places).sum()
                self._sums[1, at] += places.sum()


def part_of(parameter: str) -> str:
    """Return the part that a parameter belongs to, such as ``vision``, by its name."""
    path = parameter.removeprefix("model.").split(".")[0]
    return _PART_OF.get(path, path)


def _local(value: Tensor) -> Tensor:
    """Return this process's share of a tensor."""
    return value.to_local() if isinstance(value, DTensor) else value


def _square(value: Tensor) -> Tensor:
    return torch.linalg.vector_norm(value.float()).double().square()


def _thin(value: Tensor, every: int) -> np.ndarray:
    return _local(value).detach().flatten()[::every].float().cpu().numpy()
