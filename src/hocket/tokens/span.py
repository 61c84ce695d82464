"""The contract between processor and model.

The processor decides how many rows a medium takes and writes that many placeholder tokens; the
model must produce exactly that many rows. A `Plan` is what a layout computes for one medium
before anything is decoded; a `Span` is a plan at its place in the token sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
        heard: the same before an encoder that pools them has done so, where it does.
        rows: rows in the token sequence, over all units.
        grid: what the rows show, as (time, height, width); learned rows are not counted.
        tiles: for pictures cut into tiles, their (rows, columns); an overview is not counted.
        pieces: rows of each stretch that the layout's `after` text follows; None for one stretch.
        frames: frames of a video, where each of them is cut into tiles their number; 0 for
            everything else.
        front: texts in front of each piece, tokenised one by one.
        behind: further texts behind each piece of this medium alone, tokenised one by one.
        runs: pieces of each run that `closing` follows; empty for no run.
        closing: texts behind each run, tokenised one by one.
        kept: frames of a video or samples of a sound that are used, where the medium was cut to
            fit a budget; None for all.
    """

    units: int
    patches: tuple[int, int]
    rows: int
    grid: tuple[int, int, int]
    valid: tuple[int, ...] | None = None
    tiles: tuple[int, int] = (1, 1)
    pieces: tuple[int, ...] | None = None
    front: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    runs: tuple[int, ...] = ()
    closing: tuple[str, ...] = ()
    heard: tuple[int, ...] | None = None
    frames: int = 0
    kept: int | None = None

    def repeat(self, frames: int, *, pool: int = 1) -> Plan:
        """Return the plan of a video of such frames, of which every `pool` share their rows."""
        _, height, width = self.grid
        steps = -(-frames // pool)
        return replace(
            self,
            units=frames * self.units,
            frames=frames,
            rows=steps * self.rows,
            grid=(steps, height, width),
            pieces=(self.pieces or (self.rows,)) * steps,
        )

    def with_learned(self, count: int) -> Plan:
        """Return the plan with so many learned rows, which belong to the last piece."""
        if count == 0:
            return self
        pieces = self.pieces
        if pieces is not None:
            pieces = (*pieces[:-1], pieces[-1] + count)
        return replace(self, rows=self.rows + count, pieces=pieces)


@dataclass(frozen=True, slots=True)
class Span:
    """A medium at its place in a token sequence.

    Attributes:
        modality: picture, video or sound.
        start: index of the first placeholder token.
        rows: number of placeholder tokens, equal to the rows the model must produce.
        units: encoder inputs of this medium.
        grid: what the rows show, as (time, height, width).
        tiles: (rows, columns) of the tiles.
        text_tokens: tokens of text between and behind the rows.
    """

    modality: Modality
    start: int
    rows: int
    units: int
    grid: tuple[int, int, int]
    tiles: tuple[int, int] = (1, 1)
    text_tokens: int = 0

    @property
    def stop(self) -> int:
        """Index after the last token of the medium."""
        return self.start + self.rows + self.text_tokens
