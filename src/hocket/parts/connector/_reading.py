"""What a fixed number of queries reads: the positions of a unit or of a group of frames.

Letters: U encoder units, P positions, C width, G groups of units, T positions of a group.
"""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor

from hocket.parts.connector._frames import group_frames
from hocket.parts.features import Features


def gather_groups(features: Features, frames: int) -> tuple[Tensor, Tensor]:
    """Return features (G, T, C) and bool (G, T), the positions that are no padding.

    Args:
        features: (U, P, C).
        frames: neighbouring frames of a video that are read together.
    """
    groups = group_frames(features, frames)
    places = features.x.shape[1]
    read = rearrange(features.x[groups.units], "g f p c -> g (f p) c")
    real = repeat(groups.real, "g f -> g (f p)", p=places)
    if features.lengths is not None:
        heard = torch.arange(places, device=read.device) < features.lengths[:, None]
        real = real & rearrange(heard[groups.units], "g f p -> g (f p)")
    return read, real
