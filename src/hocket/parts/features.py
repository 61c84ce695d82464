"""What an encoder hands to a connector.

Letters: U encoder units, P patches (or frames) of one unit, C encoder width, S spans.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from hocket.tokens.span import Modality


class Features(NamedTuple):
    """Encoder outputs of one modality in reading order.

    Attributes:
        x: (U, P, C).
        grid: the P positions of a unit as (height, width); (1, P) for sound.
        spans: int64 (S, 7): units, rows, t, h, w, tile rows, tile columns; None when every unit is
            its own span.
        lengths: int64 (U,) positions of each unit that are not padding; None when all are.
        times: float32 (U,) seconds of each unit; None for still pictures.
        modality: what the units show.
    """

    x: Tensor
    grid: tuple[int, int]
    spans: Tensor | None = None
    lengths: Tensor | None = None
    times: Tensor | None = None
    modality: Modality = Modality.IMAGE
