"""Neighbouring frames of a sound side by side in the channels; rows of pure padding left out.

Letters: U encoder units, P frames of a unit, C width, F frames of a stack, R rows.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from hocket.parts.features import Features
from hocket.tokens.span import Plan


def count_stacks(plan: Plan, frames: int) -> int:
    """Return the stacks of so many frames that hold at least one real frame."""
    valid = plan.valid or (plan.patches[0] * plan.patches[1],) * plan.units
    return sum(-(-length // frames) for length in valid)


def stack_frames(features: Features, frames: int) -> Tensor:
    """Turn (U, P, C) into (R, F * C), earlier frames first; a last stack is filled with zeros."""
    missing = -features.x.shape[1] % frames
    x = nn.functional.pad(features.x, (0, 0, 0, missing))
    return keep_real(rearrange(x, "u (p f) c -> u p (f c)", f=frames), features.lengths, frames)


def keep_real(rows: Tensor, lengths: Tensor | None, frames: int) -> Tensor:
    """Turn (U, K, C), a row for every `frames` frames, into (R, C) without rows of padding.

    Args:
        rows: one row per stack.
        lengths: int64 (U,) real frames of each unit; None when all are.
        frames: frames of a stack.
    """
    if lengths is None:
        return rearrange(rows, "u k c -> (u k) c")
    real = (lengths + frames - 1) // frames
    return rows[torch.arange(rows.shape[1], device=rows.device) < real[:, None]]
