"""A plan of one stage: sizes, a traced micro-batch, and what follows from both.

Time is work over speed: the operations of a traced step, recomputation included, over the GPU's
dense matrix speed times the share of it that training reaches. Untold, that share is 40 %, the
middle of what Llama 3 (Dubey et al., 2024, table 4: 38 to 43 %) and PaLM (Chowdhery et al., 2022:
46 %) report; two measured steps on the planned device replace it.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from hocket._errors import ConfigError
from hocket.data.decoder import SampleMemory
from hocket.data.spec import DataSpec
from hocket.model.adapters import FORMATS
from hocket.model.adapters.kinds import is_residual
from hocket.model.build import Built
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.names import PARTS
from hocket.plan.memory import IN_SHARES, Memory, Strategy, memory_of
from hocket.plan.rows import Content, Histogram, Work, dearest_step, made_up, tokens_of
from hocket.plan.trace import Sizes, Traced, sizes_of, trace
from hocket.tokens.batch import Batch
from hocket.tokens.processor import HocketProcessor
from hocket.train.adapt import adapt
from hocket.train.feed import Feed, prices_of
from hocket.train.grammar import groups_of
from hocket.train.objective import loss_options
from hocket.train.parallel.blocks import recompute
from hocket.train.recipe import Adapter, Group, Recipe, Stage
from hocket.train.trainable import select_trainable, set_modes

SHARE_OF_PEAK = 0.4
DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "mixed": torch.float32,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a plan is made for.

    Attributes:
        dtype: ``float32`` or ``bfloat16`` for everything; ``mixed`` computes in bfloat16 with
            weights, gradients and moments at rest in float32, as ``train.compute_dtype`` does.
        recomputed: parts whose activations are computed again in the backward pass.
        devices: number of devices.
        sequence: devices that share the tokens of a row.
        samples: samples of the mixture that are packed to see what rows cost.
    """

    dtype: str = "float32"
    recomputed: tuple[str, ...] = ()
    devices: int = 1
    sequence: int = 1
    samples: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What one stage needs.

    Attributes:
        name: the stage's name.
        setting: what it was made for.
        sizes: the model and what trains of it.
        traced: the dearest micro-batch of a device that holds whole weights.
        in_shares: the same of one that holds shares: FSDP casts in another way than autocast.
        rows: rows of that micro-batch.
        accumulate: micro-batches of a step.
        steps: optimizer steps; 0 where the recipe counts epochs and there is no data.
        histogram: what samples and rows are like; None without data.
        mean_share: work of a usual micro-batch over the dearest one's.
        tokens_per_step: real tokens of a usual step of all devices.
    """

    name: str
    setting: Setting
    sizes: Sizes
    traced: Traced
    in_shares: Traced
    rows: int
    accumulate: int
    steps: int
    histogram: Histogram | None
    mean_share: float
    tokens_per_step: float

    @property
    def flops_per_step(self) -> float:
        """Operations of a usual step on one device."""
        work = self.traced.flops * self.mean_share * self.accumulate
        return work / self.setting.sequence

    def memory(self, strategy: Strategy, *, scale: float = 1.0) -> Memory:
        """Return what each device holds under a strategy."""
        traced = self.in_shares if strategy.sharing in IN_SHARES else self.traced
        return memory_of(self.sizes, traced, strategy, accumulate=self.accumulate, scale=scale)

    def step_seconds(self, flops_per_second: float) -> float:
        """Return the time of a step at so many operations a second on each device."""
        return self.flops_per_step / flops_per_second


class Planner:
    """Plans the stages of a run for one composition.

    Attributes:
        recipe: the stages.

    Args:
        built: the model on ``meta`` and its processor.
        recipe: the stages.
        data: the data sets; None where they are not there yet.
    """

    def __init__(self, built: Built, recipe: Recipe, data: DataSpec | None) -> None:
        self._built = built
        self.recipe = recipe
        self._data = data
        self._memory = SampleMemory(built.processor, cache_mb=0)
        self._works: dict[tuple[Any, ...], Work] = {}

    @property
    def model(self) -> HocketForConditionalGeneration:
        """The model on ``meta``, as it was given."""
        return self._built.model

    @property
    def processor(self) -> HocketProcessor:
        """The model's processor."""
        return self._built.processor

    def stage(self, name: str, setting: Setting, variant: str = "") -> StagePlan:
        """Return the plan of a stage.

        Args:
            name: the stage's name.
            setting: what it is made for.
            variant: ``""`` trains what the recipe says, ``lora``, ``qlora`` or ``connector`` that.

        Raises:
            ConfigError: the stage does not fit the model or the devices.
            DataError: the data cannot be read.
        """
        stage = _varied(self.recipe.stages[name], variant)
        rows = rows_of_device(name, stage, setting)
        model = self.prepared(name, stage, setting)
        work = self._work(name, stage, setting)
        mixed = setting.dtype == "mixed"
        sizes = sizes_of(model, narrow=mixed, packed=_packed(model, stage))
        traced = trace(model, work.batch, autocast=mixed)
        in_shares = trace(as_shares_compute(model), work.batch) if mixed else traced
        seen = work.histogram
        steps = stage.steps
        if not steps and seen:
            steps = math.ceil(stage.epochs * seen.rows_per_epoch / stage.rows)
        tokens = seen.mean_tokens if seen else stage.tokens_per_row
        return StagePlan(
            name=name,
            setting=setting,
            sizes=sizes,
            traced=traced,
            in_shares=in_shares,
            rows=rows,
            accumulate=stage.accumulate,
            steps=steps,
            histogram=seen,
            mean_share=min(1.0, rows * seen.mean_price / seen.worst_price) if seen else 1.0,
            tokens_per_step=tokens * stage.rows,
        )

    def prepared(self, name: str, stage: Stage, setting: Setting) -> HocketForConditionalGeneration:
        """Return a copy of the model as the stage trains it, in the format that weights rest in."""
        model: HocketForConditionalGeneration = copy.deepcopy(self._built.model)
        model.to(DTYPES[setting.dtype])
        adapters = adapt(model, name, _plain(stage, model.adapters), seed=self.recipe.seed, at=None)
        select_trainable(model, groups_of(stage, model), adapters)
        model.loss_options = loss_options(stage.loss, self._built.processor.tokenizer)
        recompute(model, setting.recomputed)
        set_modes(model)
        return model

    def made_up(self, content: Content, *, rows: int) -> Batch:
        """Return made-up rows for the model."""
        return made_up(self._built.processor, content, rows=rows)

    def _work(self, name: str, stage: Stage, setting: Setting) -> Work:
        """Return the dearest micro-batch of a device, or a full one where there is no data."""
        if self._data is None:
            rows = rows_of_device(name, stage, setting)
            return Work(self.made_up(self._usual(stage), rows=rows), None)
        world = setting.devices // setting.sequence
        key = (name, world, setting.samples)
        if key not in self._works:
            with tempfile.TemporaryDirectory(prefix="hocket-plan-") as folder:
                feed = Feed(
                    data=self._data,
                    recipe=replace(self.recipe, workers=0),
                    out=Path(folder),
                    processor=self._built.processor,
                    memory=self._memory,
                    rank=0,
                    world=world,
                )
                self._works[key] = dearest_step(
                    feed,
                    name,
                    stage,
                    prices=prices_of(self._built.model),
                    samples=setting.samples,
                )
        return self._works[key]

    def _usual(self, stage: Stage) -> Content:
        """Return a row half full of pictures, as far as the model takes them."""
        if self._built.processor.images is None:
            return Content(tokens=stage.tokens_per_row, targets=0.5)
        each = tokens_of(self._built.processor, Content(tokens=1, pictures=1))
        pictures = max(1, stage.tokens_per_row // (2 * each))
        if each >= stage.tokens_per_row:
            pictures = 0
        return Content(tokens=stage.tokens_per_row, pictures=pictures, targets=0.5)


def as_shares_compute(model: HocketForConditionalGeneration) -> HocketForConditionalGeneration:
    """Put a model of a mixed setting into the number format that FSDP gathers it in."""
    narrow: HocketForConditionalGeneration = model.to(torch.bfloat16)
    return narrow


def able(model: HocketForConditionalGeneration) -> tuple[str, ...]:
    """Return the parts of a model whose activations can be computed again."""
    parts = dict(model.named_modules())
    found = {name: parts.get(PARTS[name]) for name in ("language", "vision", "video", "audio")}
    return tuple(
        name
        for name, part in found.items()
        if isinstance(part, PreTrainedModel) and part.supports_gradient_checkpointing
    )


def rows_of_device(name: str, stage: Stage, setting: Setting) -> int:
    """Return the rows of a device's micro-batch.

    Raises:
        ConfigError: the rows of a step cannot be shared so.
    """
    share = stage.accumulate * (setting.devices // setting.sequence)
    if stage.rows % share:
        raise ConfigError(
            f"stage {name!r}: {stage.rows} rows per step cannot be shared by {setting.devices} "
            f"devices x {stage.accumulate} micro-batches. Set train.stages.{name}.rows to a "
            f"multiple of {share}, or change --gpus."
        )
    return stage.rows // share


def _varied(stage: Stage, variant: str) -> Stage:
    """Return the stage with other trainables: LoRA of rank 16 on the language model, or bridges."""
    if variant in ("lora", "qlora"):
        quantise = FORMATS[0] if variant == "qlora" else ""
        adapters = {"lora": Adapter(part="language", options={"r": 16}, quantise=quantise)}
        return replace(stage, trainable={}, train_modules="", adapters=adapters)
    if variant == "connector":
        groups = {"connector": Group(match="model.*projector.*", lr=1e-3)}
        return replace(stage, trainable=groups, train_modules="", adapters={})
    return stage


def _plain(stage: Stage, known: Collection[str]) -> Stage:
    """Return the stage with weights as they are: shapes cannot be packed or decomposed."""
    adapters = {}
    for name, one in stage.adapters.items():
        decomposes = name not in known and is_residual(one.kind, one.options)
        begins = {"init_lora_weights": True} if decomposes else {}
        adapters[name] = replace(one, quantise="", options=one.options | begins)
    return replace(stage, adapters=adapters)


def _packed(model: HocketForConditionalGeneration, stage: Stage) -> set[str]:
    """Return the layers whose weights rest in four bits."""
    asked = [name for name, one in stage.adapters.items() if one.quantise]
    return {layer for name in asked for layer in model.adapters[name].layers}
