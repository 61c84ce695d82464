"""Boxes: how often a described thing is found, by intersection over union (RefCOCO)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from hocket._errors import DataError
from hocket.eval.metrics import Metric, Record, Stat, mean, metrics

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom."""

THRESHOLDS = (0.5, 0.1, 0.3, 0.7, 0.9)
_NUMBER = r"\s*(-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*"
_FOUR = re.compile(rf"[\[(<]?{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}[\])>]?")
_FOUR_LMMS = re.compile(
    r"\[\s*(-?\d+(?:\.\d+)?),\s*(-?\d+(?:\.\d+)?),\s*(-?\d+(?:\.\d+)?),\s*(-?\d+(?:\.\d+)?)\s*\]"
)


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class BoxAccuracy(Metric):
    """Accuracy at IoU 0.5 and other thresholds, mean IoU, and whether the centre is inside.

    The key is the right box in shares of the picture; ``width`` and ``height`` of the picture in
    pixels stand in the record's meta where `scale` needs them. The first four numbers of an answer
    are its box; corners in the wrong order are put right.

    Attributes:
        scale: what a model's numbers are: ``share`` of the picture's sides, ``padded`` shares of
            the picture padded to a square, as LLaVA's, ``thousand`` from 0 to 1000, or ``pixel``.
        profile: ``default``; ``lmms`` reads square brackets alone, leaves corners as they are and
            takes an answer without a box for a point in the corner;
            ``inclusive`` counts pixels, both ends included, as VILA and NaVILA do.
    """

    scale: Literal["share", "padded", "thousand", "pixel"] = "share"
    profile: Literal["default", "lmms", "inclusive"] = "default"

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        wanted = _box_of(record)
        numbers = (_FOUR_LMMS if self.profile == "lmms" else _FOUR).search(record.answer)
        if numbers is None:
            # lmms-eval takes the corner of the picture, which may be the middle of nothing in it.
            corner = self.profile == "lmms" and centre_inside((0.0, 0.0, 0.0, 0.0), wanted)
            return Stat(score=0.0, valid=False, parts={"iou": 0.0, "centre": float(corner)})
        left, top, right, bottom = (float(number) for number in numbers.groups())
        box = self._in_shares((left, top, right, bottom), record)
        if self.profile != "lmms":
            (x0, x1), (y0, y1) = sorted((box[0], box[2])), sorted((box[1], box[3]))
            box = (x0, y0, x1, y1)
        if self.profile == "inclusive":
            overlap = iou(_in_pixels(box, record), _in_pixels(wanted, record), edge=1.0)
        else:
            overlap = iou(box, wanted)
        inside = float(centre_inside(box, wanted))
        parsed = ", ".join(f"{side:.3f}" for side in box)
        return Stat(
            score=float(overlap >= THRESHOLDS[0]),
            parsed=parsed,
            parts={"iou": overlap, "centre": inside},
        )

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return accuracy at 0.5, mean IoU, accuracy of centres, and the other thresholds."""
        overlaps = [cast(float, stat.parts["iou"]) for stat in stats]
        at = {f"at_{line}": mean([float(one >= line) for one in overlaps]) for line in THRESHOLDS}
        return {
            self.name: at[f"at_{THRESHOLDS[0]}"],
            "iou": mean(overlaps),
            "centre": mean([cast(float, stat.parts["centre"]) for stat in stats]),
            **at,
        }

    def _in_shares(self, box: Box, record: Record) -> Box:
        if self.scale == "share":
            return box
        if self.scale == "thousand":
            return cast(Box, tuple(side / 1000 for side in box))
        width, height = _size(record)
        if self.scale == "pixel":
            return (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
        side = max(width, height)
        across, down = (side - width) / 2, (side - height) / 2
        x0, y0, x1, y1 = (share * side for share in box)
        return (
            (x0 - across) / width,
            (y0 - down) / height,
            (x1 - across) / width,
            (y1 - down) / height,
        )


def iou(one: Box, other: Box, *, edge: float = 0.0) -> float:
    """Return intersection over union; ``edge`` is added to each side, 1 where ends are included."""
    across = min(one[2], other[2]) - max(one[0], other[0]) + edge
    down = min(one[3], other[3]) - max(one[1], other[1]) + edge
    shared = max(0.0, across) * max(0.0, down)
    areas = [(box[2] - box[0] + edge) * (box[3] - box[1] + edge) for box in (one, other)]
    union = sum(areas) - shared
    return shared / union if union > 0 else 0.0


def centre_inside(box: Box, wanted: Box) -> bool:
    """Return whether the middle of a box lies in the wanted one."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return wanted[0] <= x <= wanted[2] and wanted[1] <= y <= wanted[3]


def _box_of(record: Record) -> Box:
    if not isinstance(record.key, list) or len(record.key) != len(("l", "t", "r", "b")):
        raise DataError(f"{record.id}: a box needs four numbers, found {record.key}.")
    return cast(Box, tuple(float(cast(float, side)) for side in record.key))


def _size(record: Record) -> tuple[float, float]:
    width, height = record.meta.get("width"), record.meta.get("height")
    if not isinstance(width, int | float) or not isinstance(height, int | float):
        raise DataError(f"{record.id}: the scale of boxes needs the width and height in pixels.")
    return float(width), float(height)


def _in_pixels(box: Box, record: Record) -> Box:
    width, height = _size(record)
    x0, y0, x1, y1 = box
    return (round(x0 * width), round(y0 * height), round(x1 * width), round(y1 * height))
