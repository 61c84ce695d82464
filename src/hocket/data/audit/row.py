"""One row by itself: is it read, ordered, answered; do its media open; do its labels fit.

Knows conversations, media and the processor; must not know other rows or files of findings.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hocket._errors import (
    DataError,
    EmptyAnswerError,
    HocketError,
    MediaError,
    PlaceholderError,
    TurnOrderError,
)
from hocket.chat.conversation import Conversation, Medium, Text
from hocket.chat.validate import check_conversation
from hocket.data.audit import AuditOptions, Kind, RowFacts
from hocket.data.audit.unseen import unseen_keys
from hocket.data.guarded import guarded
from hocket.data.joined import JoinedRows
from hocket.data.row_weight import weight_of
from hocket.media.examine import Examined, examine
from hocket.media.guard import Guard, LostDecoderError

if TYPE_CHECKING:
    from hocket.tokens.processor import HocketProcessor

# From the most special error to the most general: the first that fits names the kind.
_KINDS: tuple[tuple[type[HocketError], Kind], ...] = (
    (PlaceholderError, Kind.TAGS),
    (TurnOrderError, Kind.ORDER),
    (EmptyAnswerError, Kind.EMPTY),
    (LostDecoderError, Kind.DECODER),
    (MediaError, Kind.MISSING),
    (DataError, Kind.ROW),
)
_REMEMBERED = 50_000


class RowAuditor:
    """Looks at rows one at a time; media that many rows show are opened once.

    Args:
        rows: all rows.
        options: how much is looked at.
        processor: that of the model; None measures no tokens.
    """

    def __init__(
        self, rows: JoinedRows, options: AuditOptions, processor: HocketProcessor | None
    ) -> None:
        self._rows = rows
        self._options = options
        self._processor = processor
        self._guard = Guard(deadline_seconds=options.deadline_seconds)
        self._seen: dict[tuple[type[Medium], str], Examined | MediaError] = {}

    def close(self) -> None:
        """End the process that decodes."""
        self._guard.close()

    def look(self, index: int) -> RowFacts:
        """Return what is known of a row."""
        place = self._rows.place(index)
        facts = RowFacts(index, place.dataset, place.row, "")
        try:
            conversation = self._rows[index]
        except DataError as error:
            return facts._replace(faults=((_kind(error), _line(error)),))
        facts = facts._replace(
            id=conversation.id,
            characters=sum(len(message.text) for message in conversation.messages),
            unseen=unseen_keys(conversation),
        )
        try:
            check_conversation(conversation, need_answer=True)
            weight_of(conversation)
        except DataError as error:
            return facts._replace(faults=((_kind(error), _line(error)),))
        return self._look_inside(conversation, facts)

    def _look_inside(self, conversation: Conversation, facts: RowFacts) -> RowFacts:
        faults: list[tuple[Kind, str]] = []
        media: list[tuple[str, str]] = []
        for medium in conversation.media():
            found = self._examined(medium)
            if isinstance(found, MediaError):
                lost = isinstance(found, LostDecoderError)
                reason = f"{conversation.source}: {_line(found)}"
                faults.append((Kind.DECODER if lost else Kind.MEDIUM, reason))
                media.append((medium.where.name, ""))
            else:
                media.append((medium.where.name, found.digest))
        facts = facts._replace(
            media=tuple(media), faults=tuple(faults), same=_same(conversation, media)
        )
        if self._processor is None or faults:
            return facts
        # Imported where it is needed: without a model a check imports no torch, nor do its
        # processes, which would take seconds each.
        from hocket.data.audit.labels import measured

        return measured(
            guarded(conversation, self._guard), facts, self._processor, self._options.max_tokens
        )

    def _examined(self, medium: Medium) -> Examined | MediaError:
        # A file may be listened to and watched, so its name alone is no key.
        key = (type(medium), medium.where.name)
        if medium.where.path is not None and key in self._seen:
            return self._seen[key]
        found: Examined | MediaError
        try:
            decode = not self._options.headers
            found = self._guard.call(medium.where.name, examine, medium, decode=decode)
        except MediaError as error:
            found = error
        if medium.where.path is not None and len(self._seen) < _REMEMBERED:
            self._seen[key] = found
        return found


def _same(conversation: Conversation, media: list[tuple[str, str]]) -> str:
    """Return a hash of what is said and shown, whatever the row or its files are called."""
    found = hashlib.blake2b(digest_size=16)
    shown = iter(media)
    for message in conversation.messages:
        found.update(f"\0{message.role.value}\0".encode())
        for part in message.parts:
            if isinstance(part, Text):
                found.update(part.text.encode("utf-8", "backslashreplace"))
            else:
                name, digest = next(shown)
                what = digest or f"{type(part).__name__} {name}"
                found.update(f"\0{what}\0".encode("utf-8", "backslashreplace"))
    return found.hexdigest()


def _kind(error: HocketError) -> Kind:
    return next(kind for special, kind in _KINDS if isinstance(error, special))


def _line(error: HocketError) -> str:
    return " ".join(str(error).split())
