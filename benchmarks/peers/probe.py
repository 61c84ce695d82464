"""Counts what one training process does, the same way for every peer; needs torch and psutil only.

Each optimizer step ends a line of the account: wall and processor seconds, positions and real
tokens, supervised tokens. The first step warms up and is not counted. `Probe.tell` prints one line
of JSON that `benchmarks/train.py` reads.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

MARK = "PROBE "
IGNORED = -100


@dataclass(frozen=True)
class Job:
    """What every peer is asked to do.

    Attributes:
        folder: what `assets.py` made.
        mode: ``full`` trains everything, ``align`` the connector alone.
        steps: optimizer steps, the first of which is not counted.
        rows: samples of a step.
        lr: learning rate, constant.
        longest: tokens that a sample is cut to.
        out: folder for what the peer writes.
        tokens: length of a packed row, for peers that pack; they take one row a step.
        pool: samples that a packer looks ahead.
        cache: whether hocket takes the frozen tower's features from the disk.
        profile: whether the counted steps are taken apart, which slows them down a little.
    """

    folder: Path
    mode: str
    steps: int
    rows: int
    lr: float
    longest: int
    out: Path
    tokens: int
    pool: int
    cache: bool
    profile: bool

    @property
    def model(self) -> str:
        """The checkpoint in the form of transformers."""
        return str(self.folder / "llava")

    @property
    def frozen(self) -> bool:
        """Whether tower and language model are frozen."""
        return self.mode == "align"

    def conversations(self) -> list[dict[str, Any]]:
        """Return the dialogues in LLaVA's form."""
        rows: list[dict[str, Any]] = json.loads((self.folder / "llava.json").read_text())
        return rows

    def arguments(self) -> dict[str, Any]:
        """Return the settings that trainers on top of transformers' Trainer share."""
        return {
            "per_device_train_batch_size": self.rows,
            "gradient_accumulation_steps": 1,
            "max_steps": self.steps,
            "learning_rate": self.lr,
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "lr_scheduler_type": "constant",
            "optim": "adamw_torch_fused",
            "logging_steps": 1,
            "disable_tqdm": True,
            "save_strategy": "no",
            "report_to": "none",
            "bf16": False,
            "fp16": False,
            "use_cpu": True,
            "dataloader_num_workers": 0,
            "seed": 0,
        }


def read_job() -> Job:
    """Return what the command line asks for, and set torch's threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("mode", choices=("full", "align"))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--longest", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=1536)
    parser.add_argument("--pool", type=int, default=64)
    parser.add_argument("--cache", action="store_true")
    parser.add_argument("--profile", action="store_true")
    given = vars(parser.parse_args())
    torch.set_num_threads(given.pop("threads"))
    return Job(**given)


def freeze(model: Any) -> None:
    """Freeze a `LlavaForConditionalGeneration` but for its connector."""
    model.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(True)


class Step(NamedTuple):
    """The account when a step ended: since the start, and of all forward passes so far."""

    wall: float
    cpu: float
    positions: int
    tokens: int
    supervised: int
    peak: int


class Probe:
    """The account of this process.

    Args:
        peer: who trains.
        job: what it was asked for.
    """

    def __init__(self, peer: str, job: Job) -> None:
        self._peer, self._job = peer, job
        self._began = psutil.Process().create_time()
        self._steps: list[Step] = []
        self._counts = [0, 0, 0]
        self._first: tuple[float, float] | None = None
        self.losses: list[float] = []
        self._profiler = torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], with_flops=True
        )
        register_optimizer_step_post_hook(lambda *_: self._stepped())

    def watch_llava(self) -> None:
        """Count every forward pass of transformers' `LlavaForConditionalGeneration`."""
        from transformers import LlavaForConditionalGeneration as Llava

        inner = Llava.forward

        @functools.wraps(inner)
        def forward(model: Any, *args: Any, **kwargs: Any) -> Any:
            self.forward(kwargs["input_ids"], kwargs.get("attention_mask"), kwargs.get("labels"))
            output = inner(model, *args, **kwargs)
            if output.loss is not None:
                self.losses.append(float(output.loss.detach()))
            return output

        Llava.forward = forward

    def forward(self, ids: Tensor, mask: Tensor | None, labels: Tensor | None) -> None:
        """Count a forward pass, before it runs."""
        real = ids.numel() if mask is None else int(mask.sum())
        self.count(ids.numel(), real, 0 if labels is None else int((labels != IGNORED).sum()))

    def count(self, positions: int, tokens: int, supervised: int) -> None:
        """Add a forward pass to the account, before it runs."""
        if self._first is None:
            self._first = (time.time() - self._began, cpu_seconds())
        for at, count in enumerate((positions, tokens, supervised)):
            self._counts[at] += count

    def _stepped(self) -> None:
        positions, tokens, supervised = self._counts
        now = time.perf_counter(), cpu_seconds()
        self._steps.append(Step(*now, positions, tokens, supervised, _peak_bytes()))

        if self._job.profile and len(self._steps) == 1:
            self._profiler.start()
        if self._job.profile and len(self._steps) == self._job.steps:
            self._profiler.stop()

    def tell(self, **more: Any) -> None:
        """Print what was counted between the ends of the first and the last step."""
        first, last = self._steps[0], self._steps[-1]
        wall, cpu = last.wall - first.wall, last.cpu - first.cpu
        positions, tokens, supervised = (last[at] - first[at] for at in (2, 3, 4))
        assert self._first is not None
        found = {
            "peer": self._peer,
            "mode": self._job.mode,
            "steps": len(self._steps) - 1,
            "wall_s": wall,
            "cpu_s": cpu,
            "positions": positions,
            "tokens": tokens,
            "supervised": supervised,
            "supervised_per_s": supervised / wall,
            "supervised_per_cpu_s": supervised / cpu,
            "padding": 1 - tokens / positions,
            "all_supervised": last.supervised,
            "all_tokens": last.tokens,
            "peak_mb": last.peak / 1e6,
            "peak_with_saving_mb": _peak_bytes() / 1e6,
            "start_s": self._first[0],
            "start_cpu_s": self._first[1],
            "losses": self.losses,
            "torch": torch.__version__,
        }
        if self._job.profile:
            found["profile"] = apart(self._profiler, wall)
        print(MARK + json.dumps(found | more), flush=True)


KINDS = {
    "matrix products": ("mm", "linear", "convolution"),
    "attention": ("attention",),
    "optimizer": ("adam", "_foreach_"),
    "loss": ("softmax", "nll_loss", "logsumexp"),
}


def apart(profiler: torch.profiler.profile, wall: float) -> dict[str, float]:
    """Return the share of each kind of operator in the counted steps, and what was multiplied.

    ``outside`` is what no operator of torch explains: data, Python and waiting.
    """
    seconds: dict[str, float] = dict.fromkeys((*KINDS, "elementwise"), 0.0)
    operations = 0
    for event in profiler.key_averages():
        name = event.key.lower()
        kind = next((one for one, parts in KINDS.items() if any(p in name for p in parts)), None)
        if kind is None and not name.startswith("aten::"):
            continue
        seconds[kind or "elementwise"] += event.self_cpu_time_total / 1e6
        operations += event.flops or 0
    found = {kind: spent / wall for kind, spent in seconds.items()}
    found["outside"] = 1 - sum(found.values())
    found["gflop"] = operations / 1e9
    found["gflop_per_s"] = operations / 1e9 / max(seconds["matrix products"], 1e-9)
    return found


def cpu_seconds() -> float:
    """Return the processor seconds of this process and its children, living or not."""
    own, gone = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    total = own.ru_utime + own.ru_stime + gone.ru_utime + gone.ru_stime
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _peak_bytes() -> int:
    """Return the most memory this process had, and what its children hold for themselves now."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for child in psutil.Process().children(recursive=True):
        try:
            own += child.memory_full_info().uss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return own


def name_missing_vision_operators() -> None:
    """Name the operators that PyPI's torchvision asks for beside a torch without CUDA."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


_KEPT: list[Any] = []
