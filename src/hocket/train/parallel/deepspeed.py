"""DeepSpeed's JSON files, read as this trainer's own options.

deepspeed itself is not used: ZeRO-3 is FSDP2, ZeRO-2 is FSDP2 that keeps weights until the backward
pass is over. What has an equal is set, what only tunes DeepSpeed's own buffers is named in a note,
and what would train something else is refused. docs/train.md has the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hocket._errors import ConfigError
from hocket._log import warn
from hocket.train.parallel import Sharding

if TYPE_CHECKING:
    from hocket.train.recipe import Recipe

AUTO = "auto"
TUNING = {
    "allgather_bucket_size",
    "allgather_partitions",
    "contiguous_gradients",
    "overlap_comm",
    "reduce_bucket_size",
    "reduce_scatter",
    "round_robin_gradients",
    "stage3_gather_16bit_weights_on_model_save",
    "gather_16bit_weights_on_model_save",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "stage3_param_persistence_threshold",
    "stage3_prefetch_bucket_size",
    "sub_group_size",
}
"""Keys of ``zero_optimization`` that change how fast DeepSpeed is, not what is learned."""
OURS = {
    "gradient_accumulation_steps": "train.stages.*.accumulate",
    "optimizer": "lr, weight_decay and betas of the recipe",
    "scheduler": "train.stages.*.schedule and warmup_steps",
    "train_batch_size": "train.stages.*.rows",
    "train_micro_batch_size_per_gpu": "train.stages.*.rows",
    "steps_per_print": "every step is logged",
    "wall_clock_breakdown": "every step's time is logged",
}
"""Keys whose place the recipe takes."""


def with_deepspeed(recipe: Recipe) -> Recipe:
    """Return the recipe with the options of the file that ``train.deepspeed`` names.

    Raises:
        ConfigError: the file is missing or no JSON, or it asks for what has no equal here.
    """
    if not recipe.deepspeed:
        return recipe
    file = Path(recipe.deepspeed)
    found = _read(file)
    zero = _object(file, found, "zero_optimization")
    fsdp = _fsdp(file, recipe, zero)
    half, brain = (_object(file, found, name).get("enabled", AUTO) for name in ("fp16", "bf16"))
    if half is True:
        raise _no_equal(file, "fp16.enabled", "losses are not scaled here; use bf16")
    stage = zero.get("stage", 0)
    if brain is True and stage in (2, 3):
        fsdp = replace(fsdp, compute_dtype="bfloat16", reduce_dtype="float32")
    elif brain is True:
        raise _no_equal(file, "bf16.enabled with ZeRO 0 or 1", "numbers stay as the weights are")
    compiled = _object(file, found, "compile").get("enabled", recipe.compile_blocks)
    stages = recipe.stages
    clip = found.get("gradient_clipping", AUTO)
    if clip != AUTO:
        stages = {name: replace(one, max_norm=float(clip)) for name, one in stages.items()}
    _tell(file, found, zero)
    return replace(
        recipe,
        stages=stages,
        sharding=Sharding.FSDP if stage in (2, 3) else Sharding.DDP,
        fsdp=fsdp,
        compile_blocks=bool(compiled),
        deepspeed="",
    )


def _fsdp(file: Path, recipe: Recipe, zero: Mapping[str, Any]) -> Any:
    stage = zero.get("stage", 0)
    if stage not in (0, 2, 3):
        raise _no_equal(file, f"zero_optimization.stage {stage}", "stages 0, 2 and 3 have one")
    offload = {
        str(_object(file, zero, key).get("device", "none"))
        for key in ("offload_optimizer", "offload_param")
    }
    if "nvme" in offload:
        raise _no_equal(file, "offloading to nvme", "only cpu has one")
    for key in ("mics_shard_size", "zero_hpz_partition_size"):
        if zero.get(key, 1) not in (-1, 1):
            raise _no_equal(file, f"zero_optimization.{key}", "all processes share one model")
    return replace(recipe.fsdp, reshard=stage != 2, cpu_offload="cpu" in offload)


def _tell(file: Path, found: Mapping[str, Any], zero: Mapping[str, Any]) -> None:
    """Name what the file holds and this run does not use."""
    for key, ours in OURS.items():
        if found.get(key, AUTO) != AUTO:
            warn(f"{file}: {key} is not used; in its place: {ours}")
    if unused := sorted(set(zero) & TUNING):
        warn(f"{file}: not used, they tune DeepSpeed's own buffers: {', '.join(unused)}")
    known = {"stage", "offload_optimizer", "offload_param", *TUNING}
    known |= {"mics_shard_size", "mics_hierarchical_params_gather", "zero_hpz_partition_size"}
    top = {"zero_optimization", "fp16", "bf16", "compile", "gradient_clipping", *OURS}
    unknown = [f"zero_optimization.{key}" for key in zero if key not in known]
    unknown += [key for key in found if key not in top]
    if unknown:
        raise _no_equal(file, ", ".join(sorted(unknown)), "take it out of the file")


def _read(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"train.deepspeed: {file} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"train.deepspeed: {file} holds no JSON object.")
    return found


def _object(file: Path, parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key, {})
    if not isinstance(found, dict):
        raise ConfigError(f"train.deepspeed: {file}: {key} is no JSON object.")
    return found


def _no_equal(file: Path, what: str, why: str) -> ConfigError:
    return ConfigError(f"train.deepspeed: {file}: {what} has no equal here: {why}.")
