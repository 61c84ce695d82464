"""Make toy data to try things with, or draw some rows of your own with their media."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hocket._errors import ConfigError, DataError
from hocket._log import warn
from hocket.cli.data._open import (
    READER,
    MediaRootOption,
    ProcessesOption,
    ReaderOption,
    SourceOption,
    open_rows,
)
from hocket.cli.data._write import SkipOption, container_of, inputs_of, run, store_of, tell
from hocket.data.convert import Job
from hocket.data.merge import MergedRows
from hocket.data.seed import generator
from hocket.data.toy import READER as TOY_READER
from hocket.data.toy import write_toy


class Media(StrEnum):
    """What becomes of the media of rows that are drawn."""

    COPY = "copy"
    KEEP = "keep"


def command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    rows: Annotated[
        int, typer.Option("--rows", "--num-samples", "--num_samples", min=1, help="Rows.")
    ] = 20,
    of: Annotated[
        str, typer.Option("--of", help="Data file to draw from; without it, toy data is made.")
    ] = "",
    media: Annotated[
        Media, typer.Option(help="copy: beside OUT; keep: OUT names the files where they are.")
    ] = Media.COPY,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    reader: ReaderOption = READER,
    source: SourceOption = "",
    media_root: MediaRootOption = None,
    skip: SkipOption = False,
    processes: ProcessesOption = 0,
) -> None:
    """Make toy data to try things with, or draw some rows of your own with their media.

    Toy data has shapes to name, compare and watch, sums with thinking, and a tool call, in the
    format of Ovis.
    """
    if not of:
        if source or media_root or reader != READER or skip:
            raise ConfigError("--source, --reader, --media-root and --skip go with --of FILE.")
        pictures = write_toy(out, rows=rows, seed=seed)
        typer.echo(
            f"{out}: {rows} rows, pictures in {pictures}\n"
            f"next: hocket data show {out} --reader {TOY_READER}"
        )
        return
    opened = open_rows(of, source=source, reader=reader, media_root=media_root)
    specs = list(opened.specs.values())
    if len({spec.reader for spec in specs}) > 1:
        raise ConfigError(f"{of} has rows of several formats. Draw from one of its files.")
    if rows > len(opened):
        raise DataError(f"{of} has {len(opened)} rows, not {rows}. Ask for fewer.")
    container = container_of(out, "")
    drawn = np.sort(generator(seed, "sample").permutation(len(opened))[:rows])
    merged = MergedRows(opened.rows.parts, opened.rows.numbers(drawn))
    renamed = merged.separate_ids(refuse=False)
    if renamed:
        warn(f"{renamed} ids stood twice and got a number.")
    job = Job(
        rows=merged,
        to=specs[0].reader,
        container=container,
        out=out,
        store=store_of(out, container, copy=media is Media.COPY and container != "webdataset"),
        inputs=inputs_of(opened.specs, seed=seed, sample=rows, media=media.value),
        skip=skip,
    )
    tell(job, run(job, processes=processes))
