"""The number format that a run computes in: one answer, whoever shares the model.

One process and DDP compute through torch's autocast, FSDP through its own policy. Weights that rest
are never in it. The answer comes from the recipe alone: no variable of the environment has a say,
a checkpoint records it, and a resumed run must have the same.
"""

from __future__ import annotations

from dataclasses import replace

from hocket._errors import ConfigError
from hocket.train.parallel import ComputeDtype, Sharding
from hocket.train.recipe import Recipe


def with_formats(recipe: Recipe) -> Recipe:
    """Return the recipe with the formats of ``fsdp`` that follow from ``train.compute_dtype``.

    Raises:
        ConfigError: the format is float16, or ``train.fsdp.compute_dtype`` says another one.
    """
    wanted, own = recipe.compute_dtype, recipe.fsdp.compute_dtype
    if wanted is ComputeDtype.FLOAT16:
        raise ConfigError(
            "train.compute_dtype is float16: losses are not scaled here, so small gradients would "
            "become 0. Set bfloat16 or float32."
        )
    if ComputeDtype.FLOAT16 in (own, recipe.fsdp.reduce_dtype):
        raise ConfigError(
            "train.fsdp computes or averages in float16: losses are not scaled here, so small "
            "gradients would become 0. Set bfloat16 or float32."
        )
    if recipe.sharding is not Sharding.FSDP:
        if own and own != wanted:
            raise ConfigError(
                f"train.fsdp.compute_dtype is {own}, but with train.sharding={recipe.sharding} "
                f"train.compute_dtype holds, which is {wanted}. Set the two alike, or leave the "
                "former out."
            )
        return recipe
    if wanted is ComputeDtype.FLOAT32:
        return recipe
    if own and own != wanted:
        raise ConfigError(
            f"train.compute_dtype is {wanted} and train.fsdp.compute_dtype {own}. Leave the latter "
            "out, or set the two alike."
        )
    reduced = recipe.fsdp.reduce_dtype or ComputeDtype.FLOAT32.value
    fsdp = replace(recipe.fsdp, compute_dtype=wanted.value, reduce_dtype=reduced)
    return replace(recipe, fsdp=fsdp)


def computed_in(recipe: Recipe) -> str:
    """Return the number format that a run really computes in."""
    if recipe.sharding is Sharding.FSDP and recipe.fsdp.compute_dtype:
        return recipe.fsdp.compute_dtype
    return recipe.compute_dtype.value
