"""A plan of one stage: sizes, a traced micro-batch, and what follows from both.

Time is work over speed: the operations of a traced step, recomputation included, over the GPU's
dense matrix speed times the share of it that training reaches. Untold, that share is 40 %, the
middle of what Llama 3 (Dubey et al., 2024, table 4: 38 to 43 %) and PaLM (Chowdhery et al., 2022:
46 %) report; two measured steps on the planned device replace it.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hocket._errors import ConfigError
from hocket.data.decoder import SampleMemory
from hocket.data.spec import DataSpec
from hocket.model.build import Built
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.plan.memory import Memory, Strategy, memory_of
from hocket.plan.rows import Content, Histogram, Work, dearest_step, made_up, tokens_of
from hocket.plan.trace import Sizes, Traced, sizes_of, trace
from hocket.tokens.batch import Batch
from hocket.train.adapt import adapt
from hocket.train.feed import Feed, prices_of
from hocket.train.grammar import groups_of
from hocket.train.objective import loss_options
from hocket.train.recipe import Adapter, Group, Recipe, Stage
from hocket.train.trainable import select_trainable, set_modes

SHARE_OF_PEAK = 0.4
DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a plan is made for.

    Attributes:
        dtype: number format of weights, gradients, moments and activations.
        checkpointing: whether each block's activations are computed again in the backward pass.
        devices: number of devices; each has ``rows / accumulate / devices`` rows at a time.
        samples: samples of the mixture that are packed to see what rows cost.
    """

    dtype: str = "float32"
    checkpointing: bool = False
    devices: int = 1
    samples: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What one stage needs.

    Attributes:
        name: the stage's name.
        setting: what it was made for.
        sizes: the model and what trains of it.
        traced: the dearest micro-batch of a device.
        rows: rows of that micro-batch.
        accumulate: micro-batches of a step.
        steps: optimizer steps; 0 where the recipe counts epochs.
        histogram: what rows cost; None without data.
        mean_share: work of a usual micro-batch over the dearest one's.
        tokens_per_step: real tokens of a usual step of all devices.
    """

    name: str
    setting: Setting
    sizes: Sizes
    traced: Traced
    rows: int
    accumulate: int
    steps: int
    histogram: Histogram | None
    mean_share: float
    tokens_per_step: float

    @property
    def flops_per_step(self) -> float:
        """Operations of a usual step on one device."""
        return self.traced.flops * self.mean_share * self.accumulate

    def memory(self, strategy: Strategy, *, scale: float = 1.0) -> Memory:
        """Return what each device holds under a strategy."""
        return memory_of(
            self.sizes,
            self.traced,
            strategy,
            devices=self.setting.devices,
            accumulate=self.accumulate,
            scale=scale,
        )

    def step_seconds(self, flops_per_second: float) -> float:
        """Return the time of a step at so many operations a second on each device."""
        return self.flops_per_step / flops_per_second


class Planner:
    """Plans the stages of a run for one composition.

    Args:
        built: the model on ``meta`` and its processor.
        recipe: the stages.
        data: the data sets; None where they are not there yet.
    """

    def __init__(self, built: Built, recipe: Recipe, data: DataSpec | None) -> None:
        self._built = built
        self._recipe = recipe
        self._data = data
        self._memory = SampleMemory(built.processor, cache_mb=0)
        self._works: dict[tuple[Any, ...], Work] = {}

    def stage(self, name: str, setting: Setting, variant: str = "") -> StagePlan:
        """Return the plan of a stage.

        Args:
            name: the stage's name.
            setting: what it is made for.
            variant: ``""`` trains what the recipe says; ``lora`` and ``connector`` train that.

        Raises:
            ConfigError: the stage does not fit the model or the devices.
            DataError: the data cannot be read.
        """
        stage = _varied(self._recipe.stages[name], variant)
        share = stage.accumulate * setting.devices
        if stage.rows % share:
            raise ConfigError(
                f"stage {name!r}: {stage.rows} rows per step cannot be shared by "
                f"{setting.devices} devices x {stage.accumulate} micro-batches. Set "
                f"train.stages.{name}.rows to a multiple of {share}, or change --gpus."
            )
        model = self.prepared(name, stage, setting)
        work = self._work(name, stage, setting)
        rows = stage.rows // share
        traced = trace(model, work.batch)
        seen = work.histogram
        tokens = seen.mean_tokens if seen else stage.tokens_per_row
        return StagePlan(
            name=name,
            setting=setting,
            sizes=sizes_of(model),
            traced=traced,
            rows=rows,
            accumulate=stage.accumulate,
            steps=stage.steps,
            histogram=seen,
            mean_share=min(1.0, rows * seen.mean_price / seen.worst_price) if seen else 1.0,
            tokens_per_step=tokens * stage.rows,
        )

    def prepared(self, name: str, stage: Stage, setting: Setting) -> HocketForConditionalGeneration:
        """Return a copy of the model as the stage trains it, in its number format."""
        model: HocketForConditionalGeneration = copy.deepcopy(self._built.model)
        model.to(DTYPES[setting.dtype])
        adapters = adapt(model, name, stage, seed=self._recipe.seed, at=None)
        select_trainable(model, groups_of(stage, model), adapters)
        model.loss_options = loss_options(stage.loss, self._built.processor.tokenizer)
        if setting.checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        set_modes(model)
        return model

    def made_up(self, content: Content, *, rows: int) -> Batch:
        """Return made-up rows for the model."""
        return made_up(self._built.processor, content, rows=rows)

    def _work(self, name: str, stage: Stage, setting: Setting) -> Work:
        """Return the dearest micro-batch of a device, or a full one where there is no data."""
        rows = stage.rows // (stage.accumulate * setting.devices)
        if self._data is None:
            return Work(self.made_up(self._usual(stage), rows=rows), None)
        key = (name, setting.devices, setting.samples)
        if key not in self._works:
            with tempfile.TemporaryDirectory(prefix="hocket-plan-") as folder:
                feed = Feed(
                    data=self._data,
                    recipe=replace(self._recipe, workers=0),
                    out=Path(folder),
                    processor=self._built.processor,
                    memory=self._memory,
                    rank=0,
                    world=setting.devices,
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


def _varied(stage: Stage, variant: str) -> Stage:
    """Return the stage with other trainables: LoRA of rank 16 on the language model, or bridges."""
    if variant == "lora":
        adapters = {"lora": Adapter(part="language", options={"r": 16})}
        return replace(stage, trainable={}, train_modules="", adapters=adapters)
    if variant == "connector":
        groups = {"connector": Group(match="model.*projector.*", lr=1e-3)}
        return replace(stage, trainable=groups, train_modules="", adapters={})
    return stage
