"""Samples as one page that needs nothing else: tokens as boxes, pictures, frames and sounds.

It knows Jinja and media files; it must not know how samples are tokenised. Everything that comes
from the data is escaped by the template, and the page forbids scripts and connections.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib.resources import files
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
from hocket.media.image import Image
from hocket.tokens.processor import HocketProcessor

_PICTURE_PIXELS = 240
_FRAME_PIXELS = 96
_MOST_FRAMES = 32
_MOST_SECONDS = 60


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
    if path.is_dir():
        raise ConfigError(f"--html: {path} is a folder. Name a file, such as {path / 'show.html'}.")
    if path.parent.exists() and not path.parent.is_dir():
        raise ConfigError(f"--html: {path.parent} is a file, not a folder. Choose another folder.")
    page = render(sheets, processor, title=title, note=note)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise MachineError(
            f"{path} cannot be written ({error.strerror}). Choose another file for --html."
        ) from error


def render(sheets: Sequence[Sheet], processor: HocketProcessor, *, title: str, note: str) -> str:
    """Return the page as HTML."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = (files("hocket.cli._show") / "tokens.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        title=title, note=note, samples=[_sample(sheet, processor) for sheet in sheets]
    )


def _sample(sheet: Sheet, processor: HocketProcessor) -> dict[str, Any]:
    return {
        "row": sheet.row,
        "id": legible(sheet.id),
        "pieces": [_piece(piece, sheet.boxes) for piece in sheet.pieces],
        "boxes": [_box(box, processor) for box in sheet.boxes],
        "cost": list(cost_rows(sheet)),
    }


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
    shown: dict[str, Any] = {"pictures": [], "sound": "", "remark": ""}
    try:
        shown |= _media(box.medium, processor)
    except MediaError as error:
        # The tokens are right all the same: they come from the header.
        shown["remark"] = legible(str(error))
    return shown | {
        "number": box.number,
        "span": box.span,
        "modality": box.span.modality.value,
        "file": legible(box.medium.where.name),
        "size": box.size,
    }


def _media(medium: Medium, processor: HocketProcessor) -> dict[str, Any]:
    """Return what is seen and heard: a picture, the frames that the model gets, or a sound."""
    if isinstance(medium, Image):
        return {"pictures": [(_png(medium.load(), _PICTURE_PIXELS), "")]}
    if isinstance(medium, Audio):
        assert processor.sounds is not None  # else the span could not have been planned
        rate = processor.sounds.rate
        wave = medium.load(rate)
        cut = len(wave) > _MOST_SECONDS * rate
        remark = f"the first {_MOST_SECONDS} s" if cut else ""
        return {"sound": _flac(wave[: _MOST_SECONDS * rate], rate), "remark": remark}
    assert processor.sampler is not None
    frames, seconds = medium.load(processor.sampler)
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
