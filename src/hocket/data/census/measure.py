"""One row in numbers: tokens, turns, media and their sizes, and what is wrong with it.

Knows conversations, tokens and headers; must not decode a medium.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from hocket._errors import DataError, HocketError, MediaError, ReaderError
from hocket.chat.conversation import Conversation, Medium, Role
from hocket.chat.validate import check_conversation
from hocket.data.census.scripts import main_script
from hocket.data.joined import Place
from hocket.data.row_weight import weight_of
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.tokens.example import Outline
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality


class Rows(Protocol):
    """Rows that know what they are called."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Conversation:
        """Return a row.

        Raises:
            DataError: the row cannot be understood.
        """
        ...

    def place(self, index: int) -> Place:
        """Return the data set of a row and its number there."""
        ...


class Trouble(StrEnum):
    """What can be wrong with a row."""

    ROW = "row cannot be read"
    TURNS = "turns cannot be learned"
    MISSING = "file is missing"
    MEDIUM = "medium cannot be opened"
    OTHER = "cannot be tokenised"


class Fault(NamedTuple):
    """A row that cannot be used.

    Attributes:
        number: its place among all rows.
        place: its data set and number there.
        id: its own id; empty when the row cannot be read.
        trouble: what is wrong.
        reason: the same in words.
    """

    number: int
    place: Place
    id: str
    trouble: Trouble
    reason: str


class MediumFacts(NamedTuple):
    """A medium by its header.

    Attributes:
        number: place of its row among all rows.
        kind: number of its modality in `KINDS`.
        height: pixels; 0 for sound.
        width: pixels; 0 for sound.
        seconds: length; 0 for a picture.
        frames: frames that the file holds; 0 for picture and sound.
    """

    number: int
    kind: int
    height: int = 0
    width: int = 0
    seconds: float = 0.0
    frames: int = 0


class RowFacts(NamedTuple):
    """A row that can be tokenised.

    Attributes:
        number: its place among all rows.
        turns: messages, without the system's.
        media: how many it has.
        tokens: positions of the language model.
        learned: tokens that are learned.
        placeholders: positions that media take.
        patches: patches of the vision tower.
        audio_frames: encoder frames of the audio tower.
        answer: characters of the shortest answer; 0 for an empty one, -1 without answers.
    """

    number: int
    turns: int
    media: int
    tokens: int
    learned: int
    placeholders: int
    patches: int
    audio_frames: int
    answer: int


KINDS = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)


@dataclass
class Notes:
    """What is found in some rows.

    Attributes:
        rows: those that can be tokenised.
        media: their media, and those that can be opened of other rows.
        faults: what cannot be used, at most one a row.
        roles: messages of each role.
        scripts: rows by the writing system of their text.
    """

    rows: list[RowFacts] = field(default_factory=list)
    media: list[MediumFacts] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    roles: Counter[str] = field(default_factory=Counter)
    scripts: Counter[str] = field(default_factory=Counter)


def note_row(rows: Rows, index: int, processor: HocketProcessor, notes: Notes) -> None:
    """Look at one row and add what is found to some notes."""
    try:
        conversation = rows[index]
    except DataError as error:
        # A reader opens no medium: all that it finds of one is that the file is not there.
        trouble = Trouble.MISSING if isinstance(error, MediaError) else Trouble.ROW
        notes.faults.append(Fault(index, rows.place(index), "", trouble, str(error)))
        return
    notes.roles.update(message.role.value for message in conversation.messages)
    notes.scripts[main_script("".join(one.text for one in conversation.messages))] += 1
    try:
        for medium in conversation.media():
            notes.media.append(_look(medium, index))
        outline = processor.measure(conversation)
        notes.rows.append(_facts(index, conversation, outline))
        check_conversation(conversation, need_answer=True)
        weight_of(conversation)
    except HocketError as error:
        trouble = _trouble(error, conversation)
        place = rows.place(index)
        notes.faults.append(Fault(index, place, conversation.id, trouble, str(error)))


def _look(medium: Medium, index: int) -> MediumFacts:
    """Return a medium's header.

    Raises:
        MediaError: it cannot be read.
    """
    if isinstance(medium, Image):
        height, width = medium.size()
        return MediumFacts(index, KINDS.index(Modality.IMAGE), height, width)
    if isinstance(medium, Audio):
        kind = KINDS.index(Modality.AUDIO)
        return MediumFacts(index, kind, seconds=medium.seconds())
    found = medium.probe()
    kind = KINDS.index(Modality.VIDEO)
    return MediumFacts(index, kind, found.height, found.width, found.seconds, found.frames)


def _facts(index: int, conversation: Conversation, outline: Outline) -> RowFacts:
    answers = [
        len(message.text.strip())
        for message in conversation.messages
        if message.role is Role.ASSISTANT
    ]
    cost = outline.cost
    return RowFacts(
        number=index,
        turns=sum(message.role is not Role.SYSTEM for message in conversation.messages),
        media=len(outline.spans),
        tokens=cost.tokens,
        learned=cost.targets,
        placeholders=sum(span.rows for span in outline.spans),
        patches=cost.patches,
        audio_frames=cost.frames,
        answer=min(answers, default=-1),
    )


def _trouble(error: HocketError, conversation: Conversation) -> Trouble:
    if isinstance(error, MediaError):
        files = [medium.where.path for medium in conversation.media()]
        gone = any(file is not None and not file.exists() for file in files)
        return Trouble.MISSING if gone else Trouble.MEDIUM
    if isinstance(error, ReaderError):
        return Trouble.ROW
    return Trouble.TURNS if isinstance(error, DataError) else Trouble.OTHER
