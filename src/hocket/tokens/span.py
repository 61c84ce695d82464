"""The contract between processor and model.

The processor decides how many rows a medium takes and writes that many placeholder tokens; the
model must produce exactly that many rows. A `Plan` is what a layout computes for one medium
before anything is decoded; a `Span` is a plan at its place in the token sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Modality(StrEnum):
    """What kind of medium a span holds."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class Plan:
    """How one medium becomes encoder units and language-model rows.

    Attributes:
        units: encoder inputs: tiles of a picture, frames of a video, chunks of a sound.
        patches: encoder output grid of one unit, (height, width); (1, frames) for sound.
        valid: for sound, encoder frames that are not padding, one count per unit.
        rows: rows in the token sequence, over all units.
        grid: the same rows as (time, height, width).
    """

    units: int
    patches: tuple[int, int]
    rows: int
    grid: tuple[int, int, int]
    valid: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A medium at its place in a token sequence.

    Attributes:
        modality: picture, video or sound.
        start: index of the first placeholder token.
        rows: number of placeholder tokens, equal to the rows the model must produce.
        units: encoder inputs of this medium.
        grid: the rows as (time, height, width).
    """

    modality: Modality
    start: int
    rows: int
    units: int
    grid: tuple[int, int, int]

    @property
    def stop(self) -> int:
        """Index after the last placeholder token."""
        return self.start + self.rows
