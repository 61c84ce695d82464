"""Write data in another format: rows, storage, and where the media are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hocket.cli.data._open import (
    READER,
    FileArgument,
    MediaRootOption,
    ProcessesOption,
    ReaderOption,
    SourceOption,
    open_rows,
)
from hocket.cli.data._write import (
    AbsoluteOption,
    AsOption,
    CopyOption,
    OverwriteOption,
    PackOption,
    SkipOption,
    ToOption,
    container_of,
    inputs_of,
    run,
    store_of,
    tell,
)
from hocket.data.convert import PART_ROWS, Job
from hocket.data.merge import MergedRows
from hocket.data.writers import writers


def command(
    file: FileArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File, or folder of shards.")],
    to: ToOption,
    storage: AsOption = "",
    reader: ReaderOption = READER,
    source: SourceOption = "",
    media_root: MediaRootOption = None,
    copy_media: CopyOption = False,
    pack_media: PackOption = False,
    absolute_paths: AbsoluteOption = False,
    skip: SkipOption = False,
    processes: ProcessesOption = 0,
    shard_rows: Annotated[int, typer.Option(min=1, help="Rows of a shard.")] = PART_ROWS,
    overwrite: OverwriteOption = False,
) -> None:
    """Write data in another format: rows, storage, and where the media are.

    Every row is read again and compared; what the format cannot hold is refused by name. A run
    that was stopped goes on when the same command is given again.
    """
    writers.get(to)
    container = container_of(out, storage)
    store = store_of(out, container, copy=copy_media, pack=pack_media, absolute=absolute_paths)
    opened = open_rows(file, source=source, reader=reader, media_root=media_root)
    job = Job(
        rows=MergedRows(opened.rows.parts),
        to=to,
        container=container,
        out=out,
        store=store,
        inputs=inputs_of(opened.specs, absolute=absolute_paths),
        part_rows=shard_rows,
        skip=skip,
    )
    tell(job, run(job, processes=processes, overwrite=overwrite))
