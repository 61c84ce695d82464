"""How many rows the frames of a sound become: the arithmetic that all layouts of sound share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class SoundRows(Protocol):
    """The options of a layout that its connector fills in."""

    @property
    def frames_per_row(self) -> int:
        """Encoder frames of one row."""
        ...

    @property
    def drop_rest(self) -> bool:
        """Whether frames that fill no row are dropped."""
        ...

    @property
    def rows_per_unit(self) -> int:
        """Rows of every unit, or 0 to count them by frames."""
        ...

    @property
    def extra_rows(self) -> int:
        """Learned rows of every sound."""
        ...


def count_rows(layout: SoundRows, valid: Sequence[int]) -> int:
    """Return the rows of a sound whose units hold so many real frames each."""
    if layout.rows_per_unit:
        return layout.rows_per_unit * len(valid) + layout.extra_rows
    rest = 0 if layout.drop_rest else layout.frames_per_row - 1
    return sum((frames + rest) // layout.frames_per_row for frames in valid) + layout.extra_rows


def most_frames(layout: SoundRows, frames: int, full: int) -> int:
    """Return the most real frames of a unit that give the rows of `frames`; at most `full`."""
    if layout.rows_per_unit:
        return full
    if layout.drop_rest:
        frames += layout.frames_per_row - 1 - frames % layout.frames_per_row
    else:
        frames += -frames % layout.frames_per_row
    return min(frames, full)
