"""Show samples as the model gets them: tokens, what is learned, where the media stand."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hocket._env import no_color
from hocket._errors import ConfigError, DataError, HocketError
from hocket._log import console, warn
from hocket.cli._session import start_session
from hocket.cli._show.html import write_page
from hocket.cli._show.sheet import Sheet, find_row, lay_out
from hocket.cli._show.terminal import print_legend, print_sheet
from hocket.cli.data._open import (
    READER,
    FileArgument,
    MediaRootOption,
    ModelOption,
    OpenedRows,
    ReaderOption,
    SourceOption,
    open_rows,
)
from hocket.cli.data._processor import open_processor
from hocket.tokens.processor import HocketProcessor


def command(
    file: FileArgument,
    model: ModelOption = None,
    row: Annotated[int | None, typer.Option(help="Row to show, from 0.")] = None,
    sample: Annotated[str | None, typer.Option("--id", help="Id of the row to show.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Rows to show, from that one on.")] = 1,
    reader: ReaderOption = READER,
    source: SourceOption = "",
    media_root: MediaRootOption = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with pictures and sounds here instead.")
    ] = None,
) -> None:
    """Show samples as the model gets them: tokens, what is learned, where the media stand."""
    if row is not None and sample is not None:
        raise ConfigError("--row and --id both name a row. Give one of them.")
    start_session()
    rows = open_rows(file, source=source, reader=reader, media_root=media_root)
    first = (row or 0) if sample is None else find_row(rows, sample, name=file)
    wanted = _rows(first, count, len(rows), file)
    processor, note = open_processor(model, rows)
    console().print(note, style="dim", markup=False, highlight=False, soft_wrap=True)
    if html is None:
        bad = _print_rows(rows, wanted, processor)
    else:
        bad = _write_rows(rows, wanted, processor, html, title=file, note=note)
    if bad:
        raise DataError(f"{bad} of {len(wanted)} rows cannot be shown; the reasons stand above.")


def _print_rows(rows: OpenedRows, wanted: range, processor: HocketProcessor) -> int:
    """Draw what can be drawn; return how many rows cannot."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal cannot show is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")
    screen = Console(no_color=no_color() or None, highlight=False)
    drawn = 0
    for sheet in _sheets(rows, wanted, processor):
        if not drawn:
            print_legend(screen)
        print_sheet(screen, sheet)
        drawn += 1
    return len(wanted) - drawn


def _write_rows(
    rows: OpenedRows,
    wanted: range,
    processor: HocketProcessor,
    page: Path,
    *,
    title: str,
    note: str,
) -> int:
    """Write what can be drawn as a page; return how many rows cannot."""
    sheets = list(_sheets(rows, wanted, processor))
    write_page(page, sheets, processor, title=title, note=note)
    typer.echo(f"{len(sheets)} of {len(rows)} rows: {page}")
    return len(wanted) - len(sheets)


def _sheets(rows: OpenedRows, wanted: range, processor: HocketProcessor) -> Iterator[Sheet]:
    """Yield the rows that can be shown and warn of the others.

    Raises:
        HocketError: the only row that is wanted cannot be shown.
    """
    for row in wanted:
        try:
            sheet = lay_out(row, rows[row], processor)
        except HocketError as error:
            if len(wanted) == 1:
                raise
            warn(" ".join(str(error).split()))
            continue
        yield sheet


def _rows(first: int, count: int, total: int, file: str) -> range:
    if not 0 <= first < total:
        raise DataError(f"{file} has rows 0 to {total - 1}, not {first}. Choose one of them.")
    if first + count > total:
        warn(f"{file} has {total} rows: showing {total - first} instead of {count}.")
    return range(first, min(first + count, total))
