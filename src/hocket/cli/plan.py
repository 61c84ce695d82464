"""See what a run will need: memory by part and strategy, hours, and the largest that fits."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hocket._env import no_color
from hocket._errors import ConfigError, DataError, did_you_mean
from hocket._log import console, warn
from hocket.checkpoint.directory import find_checkpoint, load_checkpoint
from hocket.checkpoint.loading import Placement
from hocket.cli._compose import RunConfig, compose_run, dump_yaml
from hocket.cli._session import start_session
from hocket.cli._show.plan import Found, draw_stage
from hocket.cli.train import starting_point
from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DataSpec
from hocket.model.build import Built, build
from hocket.plan.gpus import GPUS, Gpu, gpu_named
from hocket.plan.limits import Limits
from hocket.plan.make import DTYPES, SHARE_OF_PEAK, Planner, Setting, StagePlan
from hocket.plan.measure import Measured, measure
from hocket.plan.memory import Strategy, by_part
from hocket.train.run import Run

_VARIANTS = {"": "as the recipe says", "lora": "LoRA, r=16", "connector": "connectors only"}


def command(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="As for hocket train: experiment=NAME, model=NAME, key=value ..."),
    ] = None,
    gpu: Annotated[str, typer.Option(help=f"One of {', '.join(GPUS)}.")] = "",
    memory_gb: Annotated[
        float, typer.Option(min=0, help="GiB of each device, in place of the GPU's.")
    ] = 0.0,
    gpus: Annotated[int, typer.Option(min=1, help="Devices that share the run.")] = 1,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    checkpointing: Annotated[
        bool, typer.Option(help="Compute activations again in the backward pass.")
    ] = False,
    strategy: Annotated[
        str, typer.Option(help="single, ddp, zero2 or zero3: what the limits are for.")
    ] = "",
    stage: Annotated[str, typer.Option(help="Plan this stage alone.")] = "",
    compare: Annotated[
        bool, typer.Option(help="Add LoRA, connectors only, and checkpointing on and off.")
    ] = False,
    limits: Annotated[bool, typer.Option(help="Look for the largest that fits.")] = True,
    samples: Annotated[int, typer.Option(min=1, help="Samples packed to see costs.")] = 512,
    measured: Annotated[
        bool, typer.Option("--measure", help="Train two real steps here and correct the plan.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """See what a run will need: memory by part and strategy, hours, and the largest that fits."""
    setting = Setting(
        dtype=_one_of("--dtype", dtype, list(DTYPES)),
        checkpointing=checkpointing,
        devices=gpus,
        samples=samples,
    )
    usual = Strategy.SINGLE if gpus == 1 else Strategy.ZERO3
    asked = _Asked(
        config=compose_run(overrides or []),
        device=_device(gpu, memory_gb),
        setting=setting,
        strategy=Strategy(_one_of("--strategy", strategy or usual, list(Strategy))),
        compare=compare,
        limits=limits,
        measured=measured,
    )
    stages = list(asked.config.train.stages)
    names = [_one_of("--stage", stage, stages)] if stage else stages
    start_session()
    built, data = _composed(asked.config)
    planner = Planner(built, asked.config.train, data)
    found = [asked.found(name, planner, built) for name in names]
    if as_json:
        typer.echo(json.dumps([_plain(one) for one in found], indent=2))
        return
    screen = Console(no_color=no_color() or None, highlight=False)
    for one in found:
        screen.print(draw_stage(one))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the command line asks for."""

    config: RunConfig
    device: Gpu | None
    setting: Setting
    strategy: Strategy
    compare: bool
    limits: bool
    measured: bool

    def found(self, name: str, planner: Planner, built: Built) -> Found:
        """Plan, and if asked measure, one stage."""
        plans = _plans(planner, name, self.setting, compare=self.compare)
        first = plans[0][1]
        taken = _measured(self.config, name, self.setting) if self.measured else None
        scale = _scale(first, taken) if taken else 1.0
        return Found(
            plans=plans,
            device=self.device,
            measured=taken,
            scale=scale,
            limits=self._limits(name, planner, built, first, scale),
            strategy=self.strategy,
            speed=_speed(self.device, self.setting.dtype, first, taken),
        )

    def _limits(
        self, name: str, planner: Planner, built: Built, first: StagePlan, scale: float
    ) -> dict[str, int]:
        if self.device is None or not self.limits:
            return {}
        stage = self.config.train.stages[name]
        search = Limits(
            model=planner.prepared(name, stage, self.setting),
            processor=built.processor,
            sizes=first.sizes,
            strategy=self.strategy,
            devices=self.setting.devices,
            usable=self.device.usable,
            scale=scale,
        )
        return dict(search.largest(tokens_per_row=stage.tokens_per_row))


def _plans(
    planner: Planner, name: str, setting: Setting, *, compare: bool
) -> list[tuple[str, StagePlan]]:
    if not compare:
        return [("as the recipe says", planner.stage(name, setting))]
    plans = []
    for variant, title in _VARIANTS.items():
        for again in (setting.checkpointing, not setting.checkpointing):
            one = replace(setting, checkpointing=again)
            label = f"{title}, checkpointing {'on' if again else 'off'}"
            plans.append((label, planner.stage(name, one, variant)))
    return plans


def _device(gpu: str, memory_gb: float) -> Gpu | None:
    """Return what the run is planned for; None shows needs without comparing them."""
    known = gpu_named(gpu) if gpu else None
    if not memory_gb:
        return known
    speeds = (known.bfloat16_tflops, known.float32_tflops) if known else (0.0, 0.0)
    # What is given by hand may be used whole, so the part that a GPU keeps back is added.
    return Gpu(gpu or f"{memory_gb:g} GiB", memory_gb / 0.95 + 0.75, *speeds)


def _one_of(option: str, value: str, known: list[str]) -> str:
    if value not in known:
        raise ConfigError(
            f"{option} is {value!r}.{did_you_mean(value, known)} Known: {', '.join(known)}."
        )
    return value


def _composed(config: RunConfig) -> tuple[Built, DataSpec | None]:
    """Return the model on ``meta`` and the data, as far as it is there."""
    data: DataSpec | None = config.data
    texts = None
    try:
        sources = {
            name: (open_source(name, spec), 1.0) for name, spec in config.data.datasets.items()
        }
        texts = Mixture(sources, seed=config.train.seed).texts()
    except DataError as error:
        warn(f"no data yet, so rows are made up ({error})")
        data = None
    if config.train.init_from:
        loaded = load_checkpoint(find_checkpoint(config.train.init_from), Placement(device="meta"))
        return Built(loaded.model, loaded.processor), data
    return build(config.model, texts or (), weights=False), data


def _measured(config: RunConfig, name: str, setting: Setting) -> Measured:
    if setting.dtype != "float32" or setting.checkpointing or setting.devices != 1:
        raise ConfigError(
            "--measure trains here as hocket train does: in float32, without checkpointing, on "
            "one device. Leave --dtype, --checkpointing and --gpus out."
        )
    console().print(f"measuring two steps of stage {name} ...", style="dim", highlight=False)
    run = Run(
        recipe=config.train, data=config.data, out=Path(config.out), config_yaml=dump_yaml(config)
    )
    return measure(run, name, lambda: starting_point(config))


def _scale(plan: StagePlan, taken: Measured) -> float:
    """Return what a step made beside weights and optimizer over what was traced."""
    memory = plan.memory(Strategy.SINGLE)
    standing = memory.weights + memory.optimizer + memory.buffers
    made = memory.peak - standing
    return max(0.1, (taken.peak - standing) / made) if made else 1.0


def _speed(device: Gpu | None, dtype: str, plan: StagePlan, taken: Measured | None) -> float | None:
    """Return operations a second of a device: measured here, else a share of its data sheet."""
    if taken and (device is None or taken.device.startswith("cuda")):
        return plan.flops_per_step / taken.seconds
    if device is None:
        return None
    top = device.bfloat16_tflops if dtype == "bfloat16" else device.float32_tflops
    return top * 1e12 * SHARE_OF_PEAK or None


def _plain(found: Found) -> dict[str, object]:
    first = found.plans[0][1]
    return {
        "stage": first.name,
        "setting": asdict(first.setting),
        "sizes": asdict(first.sizes),
        "micro_batch": {"rows": first.rows, **asdict(first.traced)},
        "histogram": asdict(first.histogram) if first.histogram else None,
        "memory_bytes": {
            label: {
                one.value: dict(by_part(plan.memory(one, scale=found.scale))) for one in Strategy
            }
            for label, plan in found.plans
        },
        "usable_bytes": found.device.usable if found.device else None,
        "limits": found.limits,
        "limits_strategy": found.strategy.value,
        "measured": asdict(found.measured) if found.measured else None,
        "activation_scale": found.scale,
        "tokens_per_second": found.tokens_per_second,
        "hours": found.hours,
    }
