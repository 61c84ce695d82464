"""What the verbs of ``hocket data`` share: the options that name data, and opening it.

Data is a file, or the data sets of a config: ``data=NAME``, ``data=FILE.yaml``, ``experiment=NAME``
or just ``FILE.yaml``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hocket._errors import ConfigError
from hocket._log import console
from hocket.chat.conversation import Conversation
from hocket.chat.readers import readers
from hocket.cli._compose import compose_data
from hocket.data.joined import JoinedRows
from hocket.data.mixture import open_source
from hocket.data.sources import sources
from hocket.data.sources.webdataset import FOLDER_INDEX
from hocket.data.spec import DatasetSpec

FileArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="Data file; or data=NAME, data=FILE.yaml or experiment=NAME."
    ),
]
ReaderOption = Annotated[
    str,
    typer.Option(
        "--reader",
        metavar="NAME",
        help=f"Row format of the data file: {', '.join(readers.names())}.",
    ),
]
SourceOption = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="NAME",
        help=f"Storage of the data file: {', '.join(sources.names())}; default: by its ending.",
    ),
]
MediaRootOption = Annotated[
    Path | None,
    typer.Option("--media-root", help="Folder that media paths start from; default: the file's."),
]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", help="Checkpoint whose tokenizer is used; default: one made from the data."
    ),
]
ProcessesOption = Annotated[
    int, typer.Option("--processes", "-j", min=0, help="Processes; 0 takes one per core.")
]

READER = "llava"

_GROUP = re.compile(r"(data|experiment)=.+", re.DOTALL)
_CONFIG_ENDINGS = (".yaml", ".yml")
# Endings that are not the name of their storage format.
_ENDINGS = {".ndjson": "jsonl", ".tar": "webdataset"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRows:
    """Data that a verb was given.

    Attributes:
        title: what the user called it.
        specs: name -> data set.
        rows: all rows of all data sets.
    """

    title: str
    specs: dict[str, DatasetSpec]
    rows: JoinedRows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Conversation:
        """Return a row.

        Raises:
            DataError: the row cannot be understood.
        """
        return self.rows[index]


def open_rows(
    file: str, *, source: str = "", reader: str = READER, media_root: Path | None = None
) -> OpenedRows:
    """Open a data file, or the data sets of a config.

    Args:
        file: what stands on the command line.
        source: storage format; empty goes by the ending of the file.
        reader: row format.
        media_root: folder that relative media paths start from; None takes the file's.

    Raises:
        ConfigError: the config is wrong, or options for files stand beside one.
        UnknownNameError: no such source or reader.
        DataError: a file cannot be read.
    """
    named = not _GROUP.fullmatch(file) and Path(file).suffix in _CONFIG_ENDINGS
    config = f"data={file}" if named else file
    quarantine = ""
    if _GROUP.fullmatch(config):
        if source or media_root or reader != READER:
            raise ConfigError(
                f"{file} says itself how its data sets are stored. "
                "Leave out --source, --reader and --media-root, or give a data file."
            )
        data = compose_data([config])
        specs, quarantine = data.datasets, data.quarantine
    else:
        spec = DatasetSpec(
            path=file,
            source=source or source_of(Path(file)),
            reader=reader,
            media_root=str(media_root or ""),
        )
        specs = {Path(file).name: spec}
    parts = {name: open_source(name, spec, quarantine=quarantine) for name, spec in specs.items()}
    return OpenedRows(title=file, specs=dict(specs), rows=JoinedRows(parts))


def source_of(file: Path) -> str:
    """Return the storage format that the ending of a data file stands for; ``json`` if none."""
    if file.is_dir():
        shards = {"*.tar": "webdataset", "*.parquet": "parquet"}
        return next((shards[one] for one in shards if next(file.glob(one), None)), "folder")
    if file.name == FOLDER_INDEX:
        return "webdataset"
    ending = file.suffix.lower()
    known = {f".{name}": name for name in sources.names()} | _ENDINGS
    return known.get(ending, "json")


def count_processes(asked: int) -> int:
    """Return how many processes ``-j`` stands for; 0 is one for each core that may be used."""
    return asked or len(os.sched_getaffinity(0))


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Draw a bar over so many rows; yields what is called with numbers of rows that are done."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    screen = console()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda rows: bar.advance(task, rows)
