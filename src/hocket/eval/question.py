"""Conversations with known answers become questions, one per assistant turn.

The turns before a question are kept as they stand in the data, so that a question late in a
dialogue is asked with the right history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from hocket.chat.conversation import Conversation, Json, Role
from hocket.eval.metrics import Record
from hocket.media.audio import Audio
from hocket.media.image import Image

KINDS = {Image: "image", Audio: "audio"}


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its answer.

    Attributes:
        id: the sample's id and the number of the turn.
        conversation: everything up to the answer.
        target: the right answer.
        modality: the media that the question is about: ``image``, ``audio``, ``video``, several
            joined by ``+``, or ``text``.
        task: the row's own name of its task, or the modality.
        key: what a metric compares with, if more than the target: several answers, a box.
        group: the part of a benchmark that it belongs to.
        cluster: what it shares with other questions, such as the picture.
        meta: other fields of the row, for metrics and reports.
    """

    id: str
    conversation: Conversation
    target: str
    modality: str
    task: str
    key: Json = None
    group: str = ""
    cluster: str = ""
    meta: Mapping[str, Json] = field(default_factory=dict)

    def record(self, answer: str) -> Record:
        """Return what metrics see of this question and its answer."""
        return Record(
            id=self.id,
            answer=answer,
            target=self.target,
            key=self.key,
            group=self.group,
            cluster=self.cluster,
            meta=self.meta,
        )


def questions_of(conversations: Iterable[Conversation]) -> Iterator[Question]:
    """Yield a question for every assistant turn."""
    for conversation in conversations:
        for at, message in enumerate(conversation.messages):
            if message.role is not Role.ASSISTANT:
                continue
            asked = replace(conversation, messages=conversation.messages[:at])
            modality = modality_of(asked)
            yield Question(
                id=f"{conversation.id}#{at // 2}",
                conversation=asked,
                target=message.text,
                modality=modality,
                task=str(conversation.meta.get("task", modality)),
            )


def modality_of(conversation: Conversation) -> str:
    """Name the kinds of media in a conversation, in a fixed order."""
    seen = {KINDS.get(type(medium), "video") for medium in conversation.media()}
    return "+".join(kind for kind in ("image", "audio", "video") if kind in seen) or "text"
