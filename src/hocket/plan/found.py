"""Everything that `hocket plan` says of a stage, from one question.

Two real steps of one device's micro-batch are measured where that is asked for, or small enough.
They say how fast this machine is, and how far what was foretold is from what was: a plan for the
machine they ran on is corrected by it, one for another device is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import psutil
import torch

from hocket._errors import ConfigError
from hocket._log import console, warn
from hocket.data.spec import DataSpec
from hocket.model.build import Built
from hocket.model.sequence import SequenceSpec
from hocket.plan.gpus import Gpu
from hocket.plan.limits import Limits
from hocket.plan.make import (
    SHARE_OF_PEAK,
    Planner,
    Setting,
    StagePlan,
    able,
    as_shares_compute,
    rows_of_device,
)
from hocket.plan.measure import Measured
from hocket.plan.memory import IN_SHARES, Sharing, Strategy
from hocket.plan.scale import Cluster, Scaled, attending, scale
from hocket.train.parallel import ComputeDtype, FsdpSpec
from hocket.train.parallel import Sharding as Sharded
from hocket.train.precision import computed_in
from hocket.train.recipe import Recipe

_VARIANTS = {"lora": "LoRA, r=16", "qlora": "QLoRA, r=16", "connector": "connectors only"}
_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
# Steps are measured untold only where they come to an end soon on a usual machine.
_PATIENCE_SECONDS = 30
_USUAL_FLOPS = 2e10

Measuring = Callable[[Recipe, str], Measured]
"""Trains two steps of a stage of a recipe in a process of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of each stage.

    Attributes:
        setting: what it is planned for.
        strategies: how devices could share the run; limits and speed are for the first.
        device: what it is planned for; None for this machine.
        compare: whether to plan LoRA, QLoRA, connectors and recomputation beside the recipe.
        limits: whether to look for the largest that fits.
        scaling: whether to plan 8 to 1,024 devices.
        measured: whether to train two steps; None does it where they are small enough.
    """

    setting: Setting
    strategies: Sequence[Strategy]
    device: Gpu | None = None
    compare: bool = False
    limits: bool = True
    scaling: bool = False
    measured: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything that is known about one stage.

    Attributes:
        plans: label -> plan; the first is the recipe's own.
        strategies: how devices could share the run.
        device: what it is planned for; None for this machine.
        measured: two real steps, if they were taken.
        predicted: bytes that were foretold for them.
        factor: measured over traced bytes of a step, where the plan is for what was measured.
        limits: what is counted -> the most that fits.
        speed: operations a second of a device; None where nothing is known.
        scaled: the stage on more and more devices.
    """

    plans: Sequence[tuple[str, StagePlan]]
    strategies: Sequence[Strategy]
    device: Gpu | None
    measured: Measured | None
    predicted: float
    factor: float
    limits: Mapping[str, int]
    speed: float | None
    scaled: Sequence[Scaled]

    @property
    def tokens_per_second(self) -> float | None:
        """Real tokens a second of all devices, data and exchange left out."""
        plan = self.plans[0][1]
        return plan.tokens_per_step / plan.step_seconds(self.speed) if self.speed else None

    @property
    def hours(self) -> float | None:
        """Hours of the stage; None where its steps or the speed are not known."""
        plan = self.plans[0][1]
        if not self.speed or not plan.steps:
            return None
        return plan.steps * plan.step_seconds(self.speed) / 3600


def find(
    name: str,
    question: Question,
    built: Built,
    recipe: Recipe,
    data: DataSpec | None,
    measuring: Measuring,
) -> Found:
    """Answer a question about a stage.

    Args:
        name: the stage.
        question: what is asked.
        built: the model on ``meta`` and its processor.
        recipe: the run's.
        data: its data sets; None where they are not there yet.
        measuring: trains two steps.

    Raises:
        ConfigError: the stage does not fit the model or the devices.
        DataError: the data cannot be read.
        TrainingError: the measured steps failed.
    """
    setting, device = question.setting, question.device
    if recipe.stages[name].preference is not None:
        warn(f"stage {name}: what its reference model needs is not in the plan.")
    planner = Planner(built, recipe, data)
    plans = _plans(planner, name, question)
    first = plans[0][1]
    local, alone = _on_one_device(recipe, name, setting)
    same = alone == setting
    here = first if same else Planner(built, local, data).stage(name, alone)
    predicted = here.memory(Strategy()).peak
    taken = None
    if data is not None and _is_wanted(question, here, predicted):
        console().print(f"measuring two steps of stage {name} ...", style="dim", highlight=False)
        taken = measuring(local, name)
    elif question.measured:
        raise ConfigError("--measure needs the run's data, which is not there. Leave it out.")
    factor = 1.0
    if taken and same and (device is None or taken.device.startswith("cuda")):
        factor = _factor(here, taken)
    limits: Mapping[str, int] = {}
    if device is not None and question.limits:
        limits = _limits(planner, name, question, first, factor)
    return Found(
        plans=plans,
        strategies=question.strategies,
        device=device,
        measured=taken,
        predicted=predicted,
        factor=factor,
        limits=limits,
        speed=_speed(device, first, here, taken),
        scaled=_scaled(question, first, built) if device is not None and question.scaling else (),
    )


def possible(recipe: Recipe, base: Strategy, *, mixed: bool) -> list[Strategy]:
    """Return every way to share a run among so many devices, the recipe's own first.

    Args:
        recipe: says how the run shares them.
        base: how many devices there are.
        mixed: whether weights rest in another number format than they are computed in; where the
            recipe itself does not say so, shares come first.
    """
    if base.devices == 1:
        return [base]
    ways = [Sharing.DDP, Sharing.ZERO2, Sharing.FSDP]
    if base.devices % base.per_machine == 0 and base.devices > base.per_machine:
        ways.append(Sharing.HSDP)
    found = [replace(base, sharing=one) for one in ways]
    found.append(replace(base, sharing=Sharing.FSDP, offload=True))
    chosen = mixed and computed_in(recipe) == ComputeDtype.FLOAT32
    own = Sharing.FSDP if chosen else Sharing.DDP
    if recipe.sharding.cuts_weights:
        own = Sharing.FSDP if recipe.fsdp.reshard else Sharing.ZERO2
    offload = recipe.fsdp.cpu_offload and own is Sharing.FSDP
    return sorted(found, key=lambda one: (one.sharing, one.offload) != (own, offload))


def _plans(planner: Planner, name: str, question: Question) -> list[tuple[str, StagePlan]]:
    setting = question.setting
    plans = [("as the recipe says", planner.stage(name, setting))]
    if not question.compare:
        return plans
    every = able(planner.model)
    words = {False: "", True: ", recomputed"}
    other = replace(setting, recomputed=() if setting.recomputed else every)
    label = f"the recipe{words[bool(other.recomputed)] or ', nothing recomputed'}"
    plans.append((label, planner.stage(name, other)))
    for variant, title in _VARIANTS.items():
        for parts in ((), every):
            one = replace(setting, recomputed=parts)
            plans.append((f"{title}{words[bool(parts)]}", planner.stage(name, one, variant)))
    return plans


def _on_one_device(recipe: Recipe, name: str, setting: Setting) -> tuple[Recipe, Setting]:
    """Return the recipe and the setting of what one device does, for this machine."""
    mixed = setting.dtype == "mixed"
    alone = replace(setting, dtype="mixed" if mixed else "float32", devices=1, sequence=1)
    stage = recipe.stages[name]
    rows = rows_of_device(name, stage, setting) * stage.accumulate
    local = replace(
        recipe,
        stages={name: replace(stage, rows=rows)},
        gradient_checkpointing=list(setting.recomputed),
        sharding=Sharded.DDP,
        deepspeed="",
        fsdp=FsdpSpec(),
        compute_dtype=ComputeDtype.BFLOAT16 if mixed else ComputeDtype.FLOAT32,
        sequence_parallel=SequenceSpec(),
        compile_blocks=False,
    )
    return local, alone


def _is_wanted(question: Question, here: StagePlan, predicted: float) -> bool:
    """Return whether to train two steps on this machine."""
    if question.measured is not None:
        return question.measured
    if torch.cuda.is_available():
        room = float(torch.cuda.mem_get_info()[0])
    else:
        room = float(psutil.virtual_memory().available)
    seconds = 2 * here.flops_per_step / _USUAL_FLOPS
    small = predicted < 0.7 * room
    if small and seconds < _PATIENCE_SECONDS:
        return True
    why = "take long" if small else "not fit this machine"
    console().print(
        f"two steps would {why}, so none are measured; --measure tries all the same",
        style="dim",
        highlight=False,
    )
    return False


def _factor(plan: StagePlan, taken: Measured) -> float:
    """Return what a step made beside weights and optimizer over what was traced."""
    memory = plan.memory(Strategy())
    standing = memory.weights + memory.optimizer + memory.buffers
    made = memory.peak - standing
    return max(0.1, (taken.peak - standing) / made) if made else 1.0


def _limits(
    planner: Planner, name: str, question: Question, first: StagePlan, factor: float
) -> dict[str, int]:
    assert question.device is not None
    stage = planner.recipe.stages[name]
    model = planner.prepared(name, stage, question.setting)
    mixed = question.setting.dtype == "mixed"
    in_shares = question.strategies[0].sharing in IN_SHARES
    search = Limits(
        model=as_shares_compute(model) if mixed and in_shares else model,
        autocast=mixed and not in_shares,
        processor=planner.processor,
        sizes=first.sizes,
        strategy=question.strategies[0],
        usable=question.device.usable,
        scale=factor,
    )
    return dict(search.largest(tokens_per_row=stage.tokens_per_row))


def _speed(
    device: Gpu | None, plan: StagePlan, here: StagePlan, taken: Measured | None
) -> float | None:
    """Return operations a second of a device: measured here, else a share of its data sheet."""
    if taken and device is None:
        return here.flops_per_step / taken.seconds
    if device is None:
        return None
    full = plan.setting.dtype == "float32"
    top = device.float32_tflops if full else device.bfloat16_tflops
    return top * 1e12 * SHARE_OF_PEAK or None


def _scaled(question: Question, first: StagePlan, built: Built) -> list[Scaled]:
    assert question.device is not None
    own = question.strategies[0]
    way = Sharing.FSDP if own.sharing not in IN_SHARES else own.sharing
    heads = attending(built.model.config)
    return [
        scale(
            first,
            replace(own, sharing=one, devices=devices, offload=False),
            Cluster(gpu=question.device),
            heads,
        )
        for devices in _SIZES
        for one in dict.fromkeys((way, Sharing.HSDP))
        if devices % own.per_machine == 0 and devices % own.sequence == 0
        if one is not Sharing.HSDP or devices > own.per_machine
    ]
