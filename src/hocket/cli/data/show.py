"""Show samples as the model gets them: tokens, what is learned, where the media stand."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from transformers import AutoProcessor

from hocket._env import no_color
from hocket._errors import CheckpointError, ConfigError, DataError, HocketError
from hocket._log import console, warn
from hocket.chat.template import read_template
from hocket.checkpoint.directory import find_checkpoint
from hocket.cli._session import start_session
from hocket.cli._show.html import write_page
from hocket.cli._show.sheet import Sheet, find_row, lay_out
from hocket.cli._show.terminal import print_legend, print_sheet
from hocket.data.mixture import open_source
from hocket.data.sources import Source
from hocket.data.spec import DatasetSpec
from hocket.tokens.layout import options_of
from hocket.tokens.layout.audio_mel import AudioMel
from hocket.tokens.layout.image_fixed import ImageFixed
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.tokenizer import build_tokenizer

# Enough for the words of a data set; a large one would take minutes to read in whole.
_TOKENIZER_ROWS = 2000
_VOCAB_SIZE = 4096
_FRAMES = 8


def command(
    file: Annotated[Path, typer.Argument(help="Data file.")],
    model: Annotated[
        Path | None,
        typer.Option(help="Checkpoint whose tokenizer is used; default: one made from the file."),
    ] = None,
    row: Annotated[int | None, typer.Option(help="Row to show, from 0.")] = None,
    sample: Annotated[str | None, typer.Option("--id", help="Id of the row to show.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Rows to show, from that one on.")] = 1,
    reader: Annotated[str, typer.Option(help="Row format of the data file.")] = "llava",
    source: Annotated[str, typer.Option(help="Storage format of the data file.")] = "json",
    media_root: Annotated[
        Path | None, typer.Option(help="Folder that media paths start from; default: the file's.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with pictures and sounds here instead.")
    ] = None,
) -> None:
    """Show samples as the model gets them: tokens, what is learned, where the media stand."""
    if row is not None and sample is not None:
        raise ConfigError("--row and --id both name a row. Give one of them.")
    start_session()
    spec = DatasetSpec(
        path=str(file), source=source, reader=reader, media_root=str(media_root or "")
    )
    rows = open_source(file.name, spec)
    first = (row or 0) if sample is None else find_row(rows, sample, name=str(file))
    wanted = _rows(first, count, len(rows), file)
    processor, note = _processor(model, rows)
    console().print(note, style="dim", markup=False, highlight=False, soft_wrap=True)
    if html is None:
        bad = _print_rows(rows, wanted, processor)
    else:
        bad = _write_rows(rows, wanted, processor, html, title=str(file), note=note)
    if bad:
        raise DataError(f"{bad} of {len(wanted)} rows cannot be shown; the reasons stand above.")


def _print_rows(rows: Source, wanted: range, processor: HocketProcessor) -> int:
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
    rows: Source, wanted: range, processor: HocketProcessor, page: Path, *, title: str, note: str
) -> int:
    """Write what can be drawn as a page; return how many rows cannot."""
    sheets = list(_sheets(rows, wanted, processor))
    write_page(page, sheets, processor, title=title, note=note)
    typer.echo(f"{len(sheets)} of {len(rows)} rows: {page}")
    return len(wanted) - len(sheets)


def _sheets(rows: Source, wanted: range, processor: HocketProcessor) -> Iterator[Sheet]:
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


def _rows(first: int, count: int, total: int, file: Path) -> range:
    if not 0 <= first < total:
        raise DataError(f"{file} has rows 0 to {total - 1}, not {first}. Choose one of them.")
    if first + count > total:
        warn(f"{file} has {total} rows: showing {total - first} instead of {count}.")
    return range(first, min(first + count, total))


def _processor(model: Path | None, rows: Source) -> tuple[HocketProcessor, str]:
    """Return the processor of a checkpoint, or one made from the data, and which it is."""
    if model is None:
        images = ImageFixed()
        note = (
            f"No --model: tokenizer made from the text of this file, {images.size}-pixel pictures "
            f"in {images.patch}-pixel patches, {_FRAMES} frames a video, Whisper's sound frames."
        )
        return processor_from(rows, images), note
    folder = find_checkpoint(model)
    try:
        # Not HocketProcessor itself: importing AutoProcessor registers hocket's classes, without
        # which transformers asks whether it may run the code of the folder.
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise CheckpointError(
            f"{folder}: its processor cannot be opened: {reason}. Use another checkpoint."
        ) from error
    if not isinstance(processor, HocketProcessor):
        raise CheckpointError(
            f"{folder} holds a {type(processor).__name__}; expected a HocketProcessor. "
            "Give a checkpoint that hocket wrote."
        )
    return processor, f"Tokenizer and layouts of {folder}."


def processor_from(rows: Source, images: ImageFixed) -> HocketProcessor:
    """Return a processor for data without a model: a tokenizer of their own, default layouts."""
    return HocketProcessor(
        tokenizer=build_tokenizer(_texts(rows), vocab_size=_VOCAB_SIZE),
        image_layout=options_of(images),
        audio_layout=options_of(AudioMel()),
        video_sampling={"kind": "uniform", "frames": _FRAMES},
        chat_template=read_template("chatml"),
    )


def _texts(rows: Source) -> Iterator[str]:
    for row in range(min(len(rows), _TOKENIZER_ROWS)):
        try:
            conversation = rows[row]
        except DataError:
            continue  # named when it is its turn to be shown; the other rows have text enough
        for message in conversation.messages:
            yield message.text
