"""The processor that verbs of ``hocket data`` measure with: a checkpoint's, or their own.

Apart from `_open`, since it imports torch and transformers, and most verbs need neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from transformers import AutoProcessor

from hocket._errors import CheckpointError, DataError
from hocket.chat.template import read_template
from hocket.checkpoint.directory import find_checkpoint
from hocket.cli.data._open import OpenedRows
from hocket.data.joined import JoinedRows
from hocket.tokens.layout import options_of
from hocket.tokens.layout.audio_mel import AudioMel
from hocket.tokens.layout.image_fixed import ImageFixed
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.tokenizer import build_tokenizer

# Enough for the words of a data set; a large one would take minutes to read in whole.
_TOKENIZER_ROWS = 2000
_VOCAB_SIZE = 4096
_FRAMES = 8


def open_processor(
    model: Path | None, rows: JoinedRows | OpenedRows
) -> tuple[HocketProcessor, str]:
    """Return the processor of a checkpoint, or one made from the data, and which it is in words.

    Args:
        model: the checkpoint; None makes a tokenizer from the text of the rows.
        rows: the data.

    Raises:
        CheckpointError: the checkpoint has no processor that can be opened.
        DataError: the rows hold no text to make a tokenizer from.
    """
    if model is None:
        images = ImageFixed()
        note = (
            f"No --model: tokenizer made from the text of the data, {images.size}-pixel pictures "
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


def processor_from(rows: JoinedRows | OpenedRows, images: ImageFixed) -> HocketProcessor:
    """Return a processor for data without a model: a tokenizer of their own, default layouts."""
    return HocketProcessor(
        tokenizer=build_tokenizer(_texts(rows), vocab_size=_VOCAB_SIZE),
        image_layout=options_of(images),
        audio_layout=options_of(AudioMel()),
        video_sampling={"kind": "uniform", "frames": _FRAMES},
        chat_template=read_template("chatml"),
    )


def _texts(rows: JoinedRows | OpenedRows) -> Iterator[str]:
    """Yield the text of rows that are spread over the data."""
    for row in range(0, len(rows), -(-len(rows) // _TOKENIZER_ROWS)):
        try:
            conversation = rows[row]
        except DataError:
            continue  # named when it is its turn to be shown; the other rows have text enough
        for message in conversation.messages:
            yield message.text
