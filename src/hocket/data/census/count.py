"""All rows in numbers, taken in several processes, as tables that fit in memory.

600,000 rows come to some 40 MB. Knows chunks of rows; must not know what is shown of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from hocket.data.census.measure import Fault, MediumFacts, Notes, RowFacts, Rows, note_row
from hocket.data.processes import in_processes
from hocket.tokens.processor import HocketProcessor

CHUNK_ROWS = 500
"""Rows that a process looks at before it reports."""

Table: TypeAlias = np.ndarray
"""A structured array whose fields are those of a NamedTuple."""

_ROW = np.dtype([(name, np.int64) for name in RowFacts._fields])
_MEDIUM = np.dtype(
    [(name, np.float64 if name == "seconds" else np.int64) for name in MediumFacts._fields]
)


@dataclass(frozen=True, slots=True)
class Census:
    """What is known of all rows.

    Attributes:
        total: rows there are.
        rows: (N,) table of `RowFacts`, by number; rows that cannot be tokenised are not in it.
        media: (M,) table of `MediumFacts`, by index of the row.
        faults: rows that cannot be used, by index.
        roles: messages of each role.
        scripts: rows by the writing system of their text.
    """

    total: int
    rows: Table
    media: Table
    faults: tuple[Fault, ...]
    roles: Counter[str]
    scripts: Counter[str]


class _Job(NamedTuple):
    rows: Rows
    processor: HocketProcessor


class _Part(NamedTuple):
    rows: Table
    media: Table
    faults: list[Fault]
    roles: Counter[str]
    scripts: Counter[str]


def take_census(
    rows: Rows,
    processor: HocketProcessor,
    *,
    processes: int = 1,
    advance: Callable[[int], None] = lambda rows: None,
) -> Census:
    """Look at every row; the result does not depend on how many processes do it.

    Args:
        rows: the data.
        processor: tokenizer and layouts of the model that is to be trained.
        processes: how many work at the same time.
        advance: called with numbers of rows that are done.
    """
    chunks = range(-(-len(rows) // CHUNK_ROWS))
    parts: dict[int, _Part] = {}
    for number, part in in_processes(
        _count_chunk, _Job(rows, processor), chunks, processes=processes
    ):
        parts[number] = part
        advance(len(_range(rows, number)))
    ordered = [parts[number] for number in chunks]
    return Census(
        total=len(rows),
        rows=_joined([part.rows for part in ordered], _ROW),
        media=_joined([part.media for part in ordered], _MEDIUM),
        faults=tuple(fault for part in ordered for fault in part.faults),
        roles=sum((part.roles for part in ordered), Counter()),
        scripts=sum((part.scripts for part in ordered), Counter()),
    )


def _range(rows: Rows, number: int) -> range:
    first = number * CHUNK_ROWS
    return range(first, min(first + CHUNK_ROWS, len(rows)))


def _count_chunk(job: _Job, number: int) -> _Part:
    notes = Notes()
    for index in _range(job.rows, number):
        note_row(job.rows, index, job.processor, notes)
    return _Part(
        np.array(notes.rows, dtype=_ROW),
        np.array(notes.media, dtype=_MEDIUM),
        notes.faults,
        notes.roles,
        notes.scripts,
    )


def _joined(tables: Sequence[Table], kind: np.dtype[np.void]) -> Table:
    return np.concatenate([np.empty(0, kind), *tables])
