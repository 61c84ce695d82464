"""What the parts of `benchmarks/gpu.py` share: the device, the composition and its samples."""

from __future__ import annotations

import resource
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peers.assets import (
    SIZES,
    Size,
    Writer,
    model_spec,
    write_pictures,
    write_rows,
    write_tokenizer,
)
from torch import Tensor

from hocket.data.mixture import open_source
from hocket.data.spec import DatasetSpec
from hocket.model.build import build, describe
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.plan.trace import trace
from hocket.tokens.batch import pack_batch
from hocket.tokens.example import Example
from hocket.train.recipe import Group
from hocket.train.trainable import select_trainable

ALL = {"all": Group(match="*", lr=1e-4)}


@dataclass(frozen=True)
class Setting:
    """What all parts share.

    Attributes:
        size: of `peers.assets.SIZES`.
        device: ``cuda`` or ``cpu``.
        folder: where tokenizer, pictures and samples are.
    """

    size: str
    device: str
    folder: Path

    @property
    def gpu(self) -> bool:
        """Whether figures mean something."""
        return self.device != "cpu"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows of a step, tokens of a row, and steps that count."""
        return (2, 8192, 10) if self.gpu else (1, 512, 2)

    def computing(self) -> AbstractContextManager[Any]:
        """Compute in bfloat16, where a GPU is."""
        return torch.autocast("cuda", dtype=torch.bfloat16) if self.gpu else nullcontext()

    def wait(self) -> None:
        """Wait until the GPU has done all."""
        if self.gpu:
            torch.cuda.synchronize()

    def peak_mb(self) -> float:
        """Return the most memory of the GPU, or of the process, in MB."""
        if self.gpu:
            return torch.cuda.max_memory_allocated() / 1e6
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


class Kit:
    """Composition and samples of a size; the samples fill the rows of a step."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.spec = model_spec(SIZES[setting.size], setting.folder / "tokenizer")
        self.config, self.processor = describe(self.spec)
        source = open_source("rows", data_of(setting.folder))
        count, tokens, _ = setting.shape
        self.rows: list[list[Example]] = [[] for _ in range(count)]
        lengths = [0] * count
        for at in range(len(source)):
            example = self.processor.encode(source[at])
            length = example.outline.cost.tokens
            row = next((one for one in range(count) if lengths[one] + length <= tokens), None)
            if row is None:
                break
            self.rows[row].append(example)
            lengths[row] += length
        self.examples = [one for row in self.rows for one in row]
        self.tokens = sum(lengths)

    def model(self) -> HocketForConditionalGeneration:
        """Return the model with random weights, the same each time, on the device."""
        torch.manual_seed(0)
        with torch.device(self.setting.device):
            return HocketForConditionalGeneration(self.config)

    def pad(self) -> int:
        """Return the id of padding."""
        return int(self.processor.tokenizer.pad_token_id)

    def on_device(self, batch: Any) -> dict[str, Tensor]:
        """Return a batch on the device."""
        return {name: value.to(self.setting.device) for name, value in batch.items()}


def data_of(folder: Path) -> DatasetSpec:
    """Return the samples of a folder."""
    return DatasetSpec(path=str(folder / "llava.json"), media_root=str(folder / "images"))


def write(folder: Path, size: Size, samples: int) -> None:
    """Write tokenizer, pictures and samples."""
    write_tokenizer(folder / "tokenizer", size.words)
    write_pictures(folder / "images", size.side)
    writer = Writer(0)
    write_rows(folder, [writer.dialogue(number, size.longest) for number in range(samples)])


def matrix_rate(setting: Setting) -> float:
    """Return the operations per second of large products, in bfloat16 on a GPU, the best of 20."""
    side = 8192 if setting.gpu else 256
    dtype = torch.bfloat16 if setting.gpu else torch.float32
    left, right = (torch.randn(side, side, device=setting.device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(20):
        setting.wait()
        began = time.perf_counter()
        left @ right
        setting.wait()
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def work(setting: Setting) -> dict[str, Any]:
    """Return the operations of a step, each sample by itself, and what the model is."""
    kit = Kit(setting)
    model = build(kit.spec, weights=False).model
    select_trainable(model, ALL)
    batches = [pack_batch([[one]], pad_id=kit.pad()) for one in kit.examples]
    return {
        "flops": sum(trace(model, batch).flops for batch in batches),
        "parameters": sum(one.numel() for one in model.parameters()),
        "language_parameters": sum(one.numel() for one in model.model.language_model.parameters()),
        "samples": len(kit.examples),
        "tokens": kit.tokens,
        "filled": kit.tokens / (setting.shape[0] * setting.shape[1]),
    }
