"""What ``hocket data stats`` and ``report`` share: budgets, and the census of what is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from hocket.cli._session import start_session
from hocket.cli.data._open import (
    OpenedRows,
    count_processes,
    open_rows,
    progress,
)
from hocket.cli.data._processor import open_processor
from hocket.data.budget import Budget
from hocket.data.census.count import Census, take_census
from hocket.tokens.processor import HocketProcessor

TokensOption = Annotated[
    int, typer.Option("--tokens-per-row", min=1, help="Length of a packed row in training.")
]
PatchesOption = Annotated[
    int, typer.Option("--patches-per-row", min=0, help="Most vision patches a row; 0: no limit.")
]
FramesOption = Annotated[
    int, typer.Option("--frames-per-row", min=0, help="Most audio frames a row; 0: no limit.")
]

TOKENS_PER_ROW = 2048

# Below this a process takes longer to start than its share of the rows.
_ROWS_OF_PROCESS = 4000


class Counted(NamedTuple):
    """A census and what it was taken of.

    Attributes:
        opened: the data.
        processor: what measured it.
        note: which processor that is, in words.
        census: the result.
    """

    opened: OpenedRows
    processor: HocketProcessor
    note: str
    census: Census


def count(
    file: str,
    *,
    source: str,
    reader: str,
    media_root: Path | None,
    model: Path | None,
    processes: int,
) -> Counted:
    """Open what the command line names and take its census, with a progress bar.

    Raises:
        ConfigError: the options contradict each other, or the config is wrong.
        DataError: a file cannot be read.
        CheckpointError: the checkpoint cannot be opened.
    """
    start_session()
    opened = open_rows(file, source=source, reader=reader, media_root=media_root)
    processor, note = open_processor(model, opened)
    with progress("reading headers", len(opened)) as advance:
        most = count_processes(processes)
        if not processes:
            most = max(1, min(most, len(opened) // _ROWS_OF_PROCESS))
        census = take_census(opened.rows, processor, processes=most, advance=advance)
    return Counted(opened, processor, note, census)


def budget_of(tokens: int, patches: int, frames: int) -> Budget:
    """Return what a packed row may cost, from the options."""
    return Budget(tokens=tokens, patches=patches, audio_frames=frames)
