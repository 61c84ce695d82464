"""A sample as a person inspects it: pieces of text with their ids, spans with their files.

Plain data made from a conversation and its outline. It must not know terminals or HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from transformers import PreTrainedTokenizerFast

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Medium
from hocket.cli._legible import describe
from hocket.tokens.batch import IGNORED
from hocket.tokens.example import Cost, Outline
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Span

# A character of four bytes may be spread over four tokens, and share the outer ones.
_MOST_TOKENS_A_CHARACTER = 8
_SPACE = "\u2581"  # how SentencePiece writes a space inside a token


class Rows(Protocol):
    """Data that can be looked through."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Conversation:
        """Return a row.

        Raises:
            DataError: the row cannot be understood.
        """
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """A token, the few tokens that share one character, or a run of placeholders.

    Attributes:
        start: index of its first token.
        ids: its token ids.
        text: what they decode to; of a run, one placeholder.
        learned: whether the tokens are learned.
        span: number of the span that a run belongs to, else None.
    """

    start: int
    ids: tuple[int, ...]
    text: str
    learned: bool
    span: int | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A span and the medium it stands for.

    Attributes:
        number: from 0, in reading order.
        span: modality, start, rows, units and grid.
        medium: the picture, sound or video.
        size: pixels or seconds, in words.
    """

    number: int
    span: Span
    medium: Medium
    size: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sample, ready to be drawn.

    Attributes:
        row: its row in the data file.
        id: its own id.
        source: file and row, in words.
        pieces: every token in order.
        boxes: one per medium.
        cost: tokens, learned tokens, patches and frames.
    """

    row: int
    id: str
    source: str
    pieces: tuple[Piece, ...]
    boxes: tuple[Box, ...]
    cost: Cost


def lay_out(row: int, conversation: Conversation, processor: HocketProcessor) -> Sheet:
    """Tokenise a sample and plan its media from their headers.

    Raises:
        MediaError: a header cannot be read.
        ConfigError: the model has no encoder for a medium.
    """
    outline = processor.measure(conversation)
    boxes = tuple(
        Box(number, span, medium, describe(medium))
        for number, (span, medium) in enumerate(
            zip(outline.spans, conversation.media(), strict=True)
        )
    )
    pieces = cut(outline, processor.tokenizer)
    return Sheet(row, outline.id, outline.source, pieces, boxes, outline.cost)


def cut(outline: Outline, tokenizer: PreTrainedTokenizerFast) -> tuple[Piece, ...]:
    """Cut a token sequence into pieces that can be read."""
    ids = outline.input_ids
    learned = [label != IGNORED for label in outline.labels]
    runs = {span.start: (number, span) for number, span in enumerate(outline.spans) if span.rows}
    pieces: list[Piece] = []
    number: int | None
    at = 0
    while at < len(ids):
        if at in runs:
            number, span = runs[at]
            stop, text = span.stop, _text(tokenizer, ids[at : at + 1])
        else:
            number, stop = None, at + _count_tokens(tokenizer, ids, learned, at)
            text = _text(tokenizer, ids[at:stop])
        pieces.append(Piece(at, tuple(ids[at:stop]), text, any(learned[at:stop]), number))
        at = stop
    return tuple(pieces)


def find_row(source: Rows, wanted: str, *, name: str) -> int:
    """Return the row with an id.

    Args:
        source: the data set.
        wanted: the id.
        name: the data file, for the message.

    Raises:
        DataError: no readable row has it.
    """
    first = ""
    for row in range(len(source)):
        try:
            found = source[row].id
        except DataError:
            continue  # that row has no id; the one that is looked for may come later
        if found == wanted:
            return row
        first = first or found
    raise DataError(
        f"{name}: none of its {len(source)} rows has the id {wanted!r}; ids look like {first!r}. "
        "Check the id or use --row."
    )


def _count_tokens(
    tokenizer: PreTrainedTokenizerFast, ids: list[int], learned: list[bool], at: int
) -> int:
    """Return how many tokens from `at` decode to whole characters together; 1 where none do."""
    for count in range(1, _MOST_TOKENS_A_CHARACTER + 1):
        last = at + count - 1
        if last >= len(ids) or learned[last] != learned[at]:
            break
        if "\ufffd" not in _text(tokenizer, ids[at : at + count]):
            return count
    return 1


def _text(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    text = str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
    first = str(tokenizer.convert_ids_to_tokens(ids[0]))
    if first.startswith(_SPACE):
        # Such tokenizers drop the space before the first word of whatever they decode.
        spaces = len(first) - len(first.lstrip(_SPACE))
        text = " " * spaces + text.lstrip(" ")
    return text
