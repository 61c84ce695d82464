"""Which units of a batch share their rows: runs of neighbouring frames of one video.

Letters: U encoder units, G groups, F units of the largest group, P positions, C width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hocket._errors import ConfigError
from hocket.parts.features import Features
from hocket.tokens.span import Modality, Plan


class FrameGroups(NamedTuple):
    """Runs of neighbouring frames, the last of a video possibly shorter.

    Attributes:
        units: int64 (G, F) indices of units; unused places repeat a group's first unit.
        real: bool (G, F) places that are used.
    """

    units: Tensor
    real: Tensor


def check_frames(kind: str, frames: int) -> int:
    """Return the number of frames that share their rows.

    Raises:
        ConfigError: it is below 1.
    """
    if frames < 1:
        raise ConfigError(f"connector {kind!r}: frames is {frames}, expected 1 or more.")
    return frames


def count_groups(plan: Plan, frames: int) -> int:
    """Return how many groups the units of a plan make.

    Raises:
        ConfigError: a frame is cut into several units, whose neighbours are no frames.
    """
    if frames == 1 or not plan.frames:
        return plan.units
    if plan.units != plan.frames:
        raise ConfigError(
            f"a connector joins {frames} neighbouring frames, but the layout cuts a video of "
            f"{plan.frames} into {plan.units} units. Choose a layout with one unit per frame."
        )
    return -(-plan.frames // frames)


def group_frames(features: Features, frames: int) -> FrameGroups:
    """Group every `frames` neighbouring units of a video; other units stay alone."""
    counts = [1] * len(features.x)
    if features.spans is not None and features.modality is Modality.VIDEO:
        counts = features.spans[:, 0].tolist()
    longest = min(frames, max(counts, default=1))
    units, real, start = [], [], 0
    for count in counts:
        for first in range(0, count, frames):
            size = min(frames, count - first)
            unused = longest - size
            units.append([*range(start + first, start + first + size), *[start + first] * unused])
            real.append([True] * size + [False] * unused)
        start += count
    device = features.x.device
    shape = (len(units), longest)
    return FrameGroups(
        torch.tensor(units, dtype=torch.int64, device=device).reshape(shape),
        torch.tensor(real, dtype=torch.bool, device=device).reshape(shape),
    )


def mean_of(values: Tensor, groups: FrameGroups) -> Tensor:
    """Return the means (G, ...) of values (U, ...) over the units of each group."""
    shape = groups.real.shape + (1,) * (values.dim() - 1)
    real = groups.real.reshape(shape).to(values.dtype)
    return (values[groups.units] * real).sum(dim=1) / real.sum(dim=1)


def regroup_spans(spans: Tensor | None, frames: int) -> Tensor | None:
    """Return int64 (S, 7) spans whose units are groups, as `group_frames` makes them."""
    if spans is None:
        return None
    steps = (spans[:, :1] + frames - 1) // frames
    return torch.cat([steps, spans[:, 1:]], dim=1)
