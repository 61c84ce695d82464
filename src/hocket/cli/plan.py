"""See what a run will need: memory by part and strategy, hours, and the largest that fits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console

from hocket._env import no_color
from hocket._errors import ConfigError, DataError, did_you_mean
from hocket._log import warn
from hocket.checkpoint.directory import find_checkpoint, load_checkpoint
from hocket.checkpoint.loading import Placement
from hocket.cli._aliases import translate
from hocket.cli._compose import RunConfig, compose_run, dump_yaml
from hocket.cli._session import start_session
from hocket.cli._show.plan import draw_stage
from hocket.cli.train import starting_point
from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DataSpec
from hocket.model.build import Built, build
from hocket.plan.found import Found, Question, find, possible
from hocket.plan.gpus import GPUS, Gpu, gpu_named
from hocket.plan.make import DTYPES, Setting, able
from hocket.plan.measure import Measured, measure
from hocket.plan.memory import Sharing, Strategy, by_part
from hocket.train.parallel import ComputeDtype
from hocket.train.precision import computed_in
from hocket.train.recipe import Recipe
from hocket.train.run import Run

CONTEXT = {"ignore_unknown_options": True}

_Words: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(help="As for hocket train: experiment=NAME, model=NAME, key=value ..."),
]
_GpuName: TypeAlias = Annotated[str, typer.Option(help=f"One of {', '.join(GPUS)}.")]
_Gib: TypeAlias = Annotated[
    float, typer.Option("--memory-gib", min=0, help="GiB of each device, in place of the GPU's.")
]
_Gpus: TypeAlias = Annotated[int, typer.Option(min=1, help="Devices that share the run.")]
_PerMachine: TypeAlias = Annotated[int, typer.Option(min=1, help="Devices of a machine, for hsdp.")]
_Way: TypeAlias = Annotated[
    str, typer.Option(help=f"One of {', '.join(Sharing)}; without: all that are possible.")
]
_Offload: TypeAlias = Annotated[bool, typer.Option(help="Shares rest in host memory.")]
_Sequence: TypeAlias = Annotated[
    int, typer.Option(min=0, help="Devices that share a row; 0 takes the recipe's.")
]
_Dtype: TypeAlias = Annotated[
    str,
    typer.Option(
        help="float32, bfloat16, or mixed: float32 at rest, computed in bfloat16; without: as the "
        "recipe's compute_dtype says."
    ),
]
_Checkpointing: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--checkpointing/--no-checkpointing",
        help="Recompute all parts, or none; without: those of the recipe.",
    ),
]
_StageName: TypeAlias = Annotated[str, typer.Option(help="Plan this stage alone.")]
_Compare: TypeAlias = Annotated[
    bool, typer.Option("--compare", help="Add LoRA, QLoRA, connectors only, and recomputation.")
]
_Limits: TypeAlias = Annotated[
    bool, typer.Option("--limits/--no-limits", help="Look for the largest that fits.")
]
_Scale: TypeAlias = Annotated[bool, typer.Option("--scale", help="Add 8 to 1,024 devices.")]
_Samples: TypeAlias = Annotated[int, typer.Option(min=1, help="Samples looked at to see costs.")]
_Measure: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--measure/--no-measure",
        help="Train two real steps here; without: if they are small enough.",
    ),
]
_Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def command(
    overrides: _Words = None,
    gpu: _GpuName = "",
    memory_gib: _Gib = 0.0,
    gpus: _Gpus = 1,
    per_machine: _PerMachine = 8,
    strategy: _Way = "",
    offload: _Offload = False,
    sequence: _Sequence = 0,
    dtype: _Dtype = "",
    checkpointing: _Checkpointing = None,
    stage: _StageName = "",
    compare: _Compare = False,
    limits: _Limits = True,
    scale: _Scale = False,
    samples: _Samples = 512,
    measured: _Measure = None,
    as_json: _Json = False,
) -> None:
    """See what a run will need: memory by part and strategy, hours, and the largest that fits."""
    words = [*(overrides or []), *([f"--stage_name={stage}"] if stage else [])]
    given = translate(words, processes=gpus)
    config = compose_run(given.overrides)
    recipe = config.train
    narrow = computed_in(recipe) != ComputeDtype.FLOAT32
    dtype = _one_of("--dtype", dtype or ("mixed" if narrow else "float32"), list(DTYPES))
    shared = (sequence or recipe.sequence_parallel.degree) if gpus > 1 else max(sequence, 1)
    base = Strategy(devices=gpus, per_machine=per_machine, sequence=shared)
    ways = _strategies(recipe, base, strategy, offload=offload, mixed=dtype == "mixed")
    device = _device(gpu, memory_gib)
    if scale and (device is None or not device.float32_tflops):
        raise ConfigError("--scale needs a GPU's speed. Name one with --gpu, such as --gpu h100.")
    stages = list(recipe.to_run())
    names = [_one_of("--stage", stage, stages)] if stage else stages
    start_session()
    built, data = _composed(config)
    parts = tuple(recipe.gradient_checkpointing)
    if checkpointing is not None:
        parts = able(built.model) if checkpointing else ()
    setting = Setting(dtype=dtype, recomputed=parts, devices=gpus, sequence=shared, samples=samples)
    question = Question(
        setting=setting,
        strategies=ways,
        device=device,
        compare=compare,
        limits=limits,
        scaling=scale,
        measured=measured,
    )
    measuring = partial(_measure, config)
    found = [find(name, question, built, recipe, data, measuring) for name in names]
    if as_json:
        typer.echo(json.dumps([_plain(one) for one in found], indent=2))
        return
    screen = Console(no_color=no_color() or None, highlight=False)
    for one in found:
        screen.print(draw_stage(one))


def _strategies(
    recipe: Recipe, base: Strategy, chosen: str, *, offload: bool, mixed: bool
) -> Sequence[Strategy]:
    """Return the strategy that is asked for, or all that are possible."""
    if not chosen:
        found = possible(recipe, base, mixed=mixed)
        return [one for one in found if one.offload] if offload else found
    sharing = Sharing(_one_of("--strategy", chosen, list(Sharing)))
    if (sharing is Sharing.SINGLE) != (base.devices == 1):
        raise ConfigError(
            f"--strategy {sharing} and --gpus {base.devices} do not go together: single is for one "
            "device, all others for several."
        )
    return [replace(base, sharing=sharing, offload=offload)]


def _device(gpu: str, memory_gib: float) -> Gpu | None:
    """Return what the run is planned for; None plans for this machine."""
    known = gpu_named(gpu) if gpu else None
    if not memory_gib:
        return known
    # What is given by hand may be used whole, so the part that a GPU keeps back is added.
    whole = memory_gib / 0.95 + 0.75
    return replace(known, gib=whole) if known else Gpu(f"{memory_gib:g} GiB", whole)


def _one_of(option: str, value: str, known: Sequence[str]) -> str:
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


def _measure(config: RunConfig, recipe: Recipe, name: str) -> Measured:
    run = Run(recipe=recipe, data=config.data, out=Path(config.out), config_yaml=dump_yaml(config))
    return measure(run, name, partial(_started, config))


def _started(config: RunConfig) -> Built:
    """Return the model with its weights, in the process that measures."""
    start_session()
    return starting_point(config)


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
                one.name: by_part(plan.memory(one, scale=found.factor)) for one in found.strategies
            }
            for label, plan in found.plans
        },
        "usable_bytes": found.device.usable if found.device else None,
        "limits": dict(found.limits),
        "limits_strategy": found.strategies[0].name,
        "measured": asdict(found.measured) if found.measured else None,
        "predicted_peak_bytes": found.predicted,
        "activation_factor": found.factor,
        "steps": first.steps,
        "tokens_per_second": found.tokens_per_second,
        "hours": found.hours,
        "scale": [{**asdict(one), "step_seconds": one.step_seconds} for one in found.scaled],
    }
