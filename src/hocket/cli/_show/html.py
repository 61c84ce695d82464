"""Samples as one page that needs nothing else: tokens as boxes, pictures, frames and sounds.

It knows Jinja and media files; it must not know how samples are tokenised. Everything that comes
from the data is escaped by the template, and the page forbids scripts and connections.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import PIL.Image
import soundfile

from hocket._errors import ConfigError, MachineError, MediaError
from hocket.chat.conversation import Medium
from hocket.cli._legible import legible
from hocket.cli._show.sheet import Box, Piece, Sheet
from hocket.cli._show.terminal import cost_rows
from hocket.media.audio import Audio
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.tokens.processor import HocketProcessor

_PICTURE_PIXELS = 240
_FRAME_PIXELS = 96
_MOST_FRAMES = 32
_MOST_SECONDS = 60
# For sounds that the model does not hear.
_RATE = 16_000


def write_page(
    path: Path, sheets: Sequence[Sheet], processor: HocketProcessor, *, title: str, note: str
) -> None:
    """Write the page.

    Args:
        path: the file; its folder is made if it is missing.
        sheets: the samples.
        processor: what chose the frames of the videos and the rate of the sounds.
        title: of the page.
        note: which tokenizer was used.

    Raises:
        ConfigError: the path is a folder, or its folder is a file.
        MachineError: it cannot be written.
    """
    put_page(path, render(sheets, processor, title=title, note=note), option="--html")


def put_page(path: Path, page: str, *, option: str) -> None:
    """Write a page as a file.

    Args:
        path: the file; its folder is made if it is missing.
        page: the HTML.
        option: what names the file on the command line.

    Raises:
        ConfigError: the path is a folder, or its folder is a file.
        MachineError: it cannot be written.
    """
    check_place(path, option=option)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise MachineError(
            f"{path} cannot be written ({error.strerror}). Choose another file for {option}."
        ) from error


def check_place(path: Path, *, option: str) -> None:
    """Check that a page can stand at a path.

    Raises:
        ConfigError: the path is a folder, or its folder is a file.
    """
    if path.is_dir():
        example = path / "page.html"
        raise ConfigError(f"{option}: {path} is a folder. Name a file, such as {example}.")
    if path.parent.exists() and not path.parent.is_dir():
        raise ConfigError(
            f"{option}: {path.parent} is a file, not a folder. Choose another folder."
        )


def render(sheets: Sequence[Sheet], processor: HocketProcessor, *, title: str, note: str) -> str:
    """Return the page as HTML."""
    return template("tokens.html.jinja").render(
        title=title, note=note, samples=[sample_view(sheet, processor) for sheet in sheets]
    )


def template(name: str) -> jinja2.Template:
    """Return a template of this folder; whatever is put into it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hocket.cli", "_show"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def sample_view(
    sheet: Sheet, processor: HocketProcessor, *, most_pieces: int = 0
) -> dict[str, Any]:
    """Return what the template shows of a sample.

    Args:
        sheet: the sample.
        processor: what chose the frames of the videos and the rate of the sounds.
        most_pieces: pieces that are shown, from both ends; 0 shows all.
    """
    return {
        "row": sheet.row,
        "id": legible(sheet.id),
        "pieces": _pieces(sheet, most_pieces),
        "boxes": [_box(box, processor) for box in sheet.boxes],
        "cost": list(cost_rows(sheet)),
    }


def _pieces(sheet: Sheet, most: int) -> list[dict[str, Any]]:
    pieces = sheet.pieces
    gap = len(pieces) - most
    if not most or gap <= 0:
        return [_piece(piece, sheet.boxes) for piece in pieces]
    first, last = pieces[: most // 2], pieces[len(pieces) - (most - most // 2) :]
    note = {"kind": "gap", "ids": "", "title": "", "text": f"[{gap} more]", "after": ""}
    return [
        *(_piece(piece, sheet.boxes) for piece in first),
        note,
        *(_piece(piece, sheet.boxes) for piece in last),
    ]


def _piece(piece: Piece, boxes: tuple[Box, ...]) -> dict[str, Any]:
    """Return what the template needs of one piece; `after` holds its closing line ends."""
    count = len(piece.ids)
    last = piece.start + count - 1
    place = f"position {piece.start}" if count == 1 else f"positions {piece.start} to {last}"
    if piece.span is not None:
        kind = boxes[piece.span].span.modality.value
        ids, text, after = str(piece.ids[0]), f"{piece.text} x {count} | span {piece.span}", ""
        title = f"id {ids} x {count}, {place}, {kind}, span {piece.span}"
    else:
        body = piece.text.rstrip("\n")
        after = "\n" * (len(piece.text) - len(body))
        lines = [legible(line) for line in body.split("\n")]
        text = "\u21b5\n".join(lines) + "\u21b5" * len(after)
        ids = " ".join(str(token) for token in piece.ids)
        kind = "learned" if piece.learned else "prompt"
        title = f"id {ids}, {place}, {kind}"
    return {"kind": kind, "ids": ids, "title": title, "text": text, "after": after}


def _box(box: Box, processor: HocketProcessor) -> dict[str, Any]:
    return medium_view(box.medium, processor) | {
        "number": box.number,
        "span": box.span,
        "modality": box.span.modality.value,
        "file": legible(box.medium.where.name),
        "size": box.size,
    }


def medium_view(medium: Medium, processor: HocketProcessor) -> dict[str, Any]:
    """Return what is seen and heard of a medium: pictures, a sound, and a remark on them."""
    shown: dict[str, Any] = {"pictures": [], "sound": "", "remark": ""}
    try:
        return shown | _media(medium, processor)
    except MediaError as error:
        # The tokens are right all the same: they come from the header.
        return shown | {"remark": legible(str(error))}


def _media(medium: Medium, processor: HocketProcessor) -> dict[str, Any]:
    """Return what is seen and heard: a picture, the frames that the model gets, or a sound."""
    if isinstance(medium, Image):
        return {"pictures": [(_png(medium.load(), _PICTURE_PIXELS), "")]}
    if isinstance(medium, Audio):
        rate = processor.sounds.rate if processor.sounds else _RATE
        wave = medium.load(rate)
        cut = len(wave) > _MOST_SECONDS * rate
        remark = f"the first {_MOST_SECONDS} s" if cut else ""
        return {"sound": _flac(wave[: _MOST_SECONDS * rate], rate), "remark": remark}
    frames, seconds = medium.load(processor.sampler or Uniform(_MOST_FRAMES))
    pictures = [
        (_png(frame, _FRAME_PIXELS), f"{second:.2f} s")
        for frame, second in zip(frames[:_MOST_FRAMES], seconds, strict=False)
    ]
    cut = len(frames) > _MOST_FRAMES
    remark = f"the first {_MOST_FRAMES} of {len(frames)} frames" if cut else ""
    return {"pictures": pictures, "remark": remark}


def _png(pixels: np.ndarray, side: int) -> str:
    picture = PIL.Image.fromarray(pixels)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return _data("image/png", file)


def _flac(wave: np.ndarray, rate: int) -> str:
    file = io.BytesIO()
    soundfile.write(file, np.clip(wave, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return _data("audio/flac", file)


def _data(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
