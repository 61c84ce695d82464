"""DeepSpeed's JSON files, read as this trainer's own options.

deepspeed itself is not used: ZeRO-3 is FSDP2, ZeRO-2 is FSDP2 that keeps weights until the backward
pass is over. What learns the same in another layout, such as ZeRO-1 or MiCS, gets the nearest one
and a note. What only tunes DeepSpeed's own buffers is named in a note, and what would train
something else is refused. docs/train.md has the table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hocket._errors import ConfigError
from hocket._log import warn
from hocket.train.parallel import ComputeDtype, FsdpSpec, Sharding

if TYPE_CHECKING:
    from hocket.train.recipe import Recipe, Stage

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
GROUPS = ("mics_shard_size", "zero_hpz_partition_size")
"""Keys of ``zero_optimization`` that let a group of processes hold a copy of the weights."""
QUANTISED = (
    "zero_quantized_weights",
    "zero_quantized_nontrainable_weights",
    "zero_quantized_gradients",
)
"""Keys of ``zero_optimization`` that send numbers in a few bits, which changes what is learned."""


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
    half, brain = (_switch(file, found, name) for name in ("fp16", "bf16"))
    if half:
        raise _no_equal(file, "fp16.enabled", "losses are not scaled here; use bf16")
    sharding = Sharding.FSDP if zero.get("stage", 0) else Sharding.DDP
    computed = ComputeDtype.BFLOAT16 if brain else recipe.compute_dtype
    if brain and sharding is Sharding.FSDP:
        fsdp = replace(fsdp, compute_dtype="bfloat16", reduce_dtype="float32")
    compiled = _switch(file, found, "compile")
    _tell(file, found, zero)
    return replace(
        recipe,
        stages=_clipped(file, found, recipe),
        sharding=sharding,
        fsdp=fsdp,
        compute_dtype=computed,
        compile_blocks=recipe.compile_blocks if compiled is None else compiled,
        deepspeed="",
    )


def _clipped(file: Path, found: Mapping[str, Any], recipe: Recipe) -> dict[str, Stage]:
    """Return the stages with the file's limit for the norm of gradients."""
    clip = found.get("gradient_clipping", AUTO)
    if clip == AUTO:
        return recipe.stages
    # 0 is no limit to DeepSpeed; there is none such here.
    if isinstance(clip, bool) or not isinstance(clip, int | float) or not 0 < clip < math.inf:
        raise ConfigError(
            f"train.deepspeed: {file}: gradient_clipping is {clip!r}, expected a number above 0 or "
            "auto. Correct it, or take it out."
        )
    return {name: replace(one, max_norm=float(clip)) for name, one in recipe.stages.items()}


def _fsdp(file: Path, recipe: Recipe, zero: Mapping[str, Any]) -> FsdpSpec:
    stage = zero.get("stage", 0)
    if isinstance(stage, bool) or stage not in (0, 1, 2, 3):
        raise _no_equal(file, f"zero_optimization.stage {stage!r}", "stages 0, 1, 2 and 3 have one")
    offload = {
        str(_object(file, zero, key).get("device", "none"))
        for key in ("offload_optimizer", "offload_param")
    }
    if "nvme" in offload:
        raise _no_equal(file, "offloading to nvme", "only cpu has one")
    for key in QUANTISED:
        if zero.get(key, False) is not False:
            raise _no_equal(
                file, f"zero_optimization.{key}", "what processes exchange is never quantised"
            )
    return replace(recipe.fsdp, reshard=stage not in (1, 2), cpu_offload="cpu" in offload)


def _tell(file: Path, found: Mapping[str, Any], zero: Mapping[str, Any]) -> None:
    """Name what the file holds and this run does not use."""
    for key, ours in OURS.items():
        if found.get(key, AUTO) != AUTO:
            warn(f"{file}: {key} is not used; in its place: {ours}")
    if unused := sorted(set(zero) & TUNING):
        warn(f"{file}: not used, they tune DeepSpeed's own buffers: {', '.join(unused)}")
    if zero.get("stage") == 1:
        warn(
            f"{file}: ZeRO-1 is taken as fsdp with reshard=false: weights and gradients rest in "
            "shares as well, which takes less memory. What is learned is the same."
        )
    if grouped := [key for key in GROUPS if zero.get(key, 1) not in (-1, 1)]:
        warn(
            f"{file}: {', '.join(grouped)}: shares lie over all processes here, not over groups of "
            "them: less memory, more exchange between machines. What is learned is the same."
        )
    known = {"stage", "offload_optimizer", "offload_param", *TUNING, *GROUPS, *QUANTISED}
    known |= {"mics_hierarchical_params_gather"}
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


def _switch(file: Path, found: Mapping[str, Any], key: str) -> bool | None:
    """Return whether a part of the file is enabled; None leaves it to the recipe."""
    value = _object(file, found, key).get("enabled", AUTO)
    if value == AUTO:
        return None
    if not isinstance(value, bool):
        raise ConfigError(
            f"train.deepspeed: {file}: {key}.enabled is {value!r}, expected true, false or auto. "
            "Correct it."
        )
    return value


def _no_equal(file: Path, what: str, why: str) -> ConfigError:
    return ConfigError(f"train.deepspeed: {file}: {what} has no equal here: {why}.")
