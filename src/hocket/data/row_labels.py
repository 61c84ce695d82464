"""The class of each medium of a row, as the row itself says under a key of its own.

Knows conversations; must not know losses or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Medium
from hocket.data.augment import Rows
from hocket.media.audio import Audio
from hocket.media.video import Video
from hocket.tokens.example import IGNORED
from hocket.tokens.span import Modality


class LabelKey(NamedTuple):
    """Where rows hold the classes of their media.

    Attributes:
        name: whom the classes are for.
        key: key of the rows: a number for all of these media, or a list with one for each.
        classes: how many there are, counted from 0.
        kinds: media that are told.
    """

    name: str
    key: str
    classes: int
    kinds: tuple[Modality, ...]


class MediaLabels(NamedTuple):
    """The classes of a sample's media of one kind.

    Attributes:
        name: whom they are for.
        kind: the kind of media.
        classes: one for each medium in reading order; -100 for none.
    """

    name: str
    kind: Modality
    classes: tuple[int, ...]


def labels_of(
    conversation: Conversation, keys: Sequence[LabelKey], kept: Sequence[int] | None = None
) -> tuple[MediaLabels, ...]:
    """Return the classes of a sample's media, with an entry for each kind that it has.

    Args:
        conversation: the whole sample.
        keys: what is looked for.
        kept: numbers of its media that are left; None for all.

    Raises:
        DataError: a class is out of range, or a list has another length than there are media.
    """
    if not keys:
        return ()
    kinds = [_kind(medium) for medium in conversation.media()]
    left = range(len(kinds)) if kept is None else kept
    found: list[MediaLabels] = []
    for key in keys:
        numbers = [at for at, kind in enumerate(kinds) if kind in key.kinds]
        classes = dict(zip(numbers, _classes(conversation, key, len(numbers)), strict=True))
        for kind in key.kinds:
            mine = tuple(classes[at] for at in left if kinds[at] is kind)
            found += [MediaLabels(key.name, kind, mine)] if mine else []
    return tuple(found)


def any_row_has(sources: Mapping[str, Rows], key: str) -> bool:
    """Return whether a row of some data sets holds something under a key.

    The data sets take turns, so that the first rows of any of them mostly tell.
    """
    for row in range(max(map(len, sources.values()), default=0)):
        for source in sources.values():
            try:
                if row < len(source) and source[row].meta.get(key) is not None:
                    return True
            except DataError:
                continue  # named and counted when it is its turn to be learned
    return False


def _classes(conversation: Conversation, key: LabelKey, count: int) -> list[int]:
    """Return a class for each of so many media."""
    found = conversation.meta.get(key.key)
    if not isinstance(found, list):
        return [_class(conversation, key, found)] * count
    if len(found) != count:
        raise DataError(
            f"{conversation.source}: its {key.key} lists {len(found)} classes for {count} media "
            f"({', '.join(key.kinds)}). Give one number for all of them or one for each, null for "
            "none."
        )
    return [_class(conversation, key, one) for one in found]


def _class(conversation: Conversation, key: LabelKey, found: object) -> int:
    if found is None:
        return IGNORED
    # True is a number to Python.
    if type(found) is int and (0 <= found < key.classes or found == IGNORED):
        return found
    raise DataError(
        f"{conversation.source}: its {key.key} is {found!r}, expected a whole number from 0 to "
        f"{key.classes - 1}, or {IGNORED} for none. Correct it, or the classes of the head "
        f"{key.name!r}."
    )


def _kind(medium: Medium) -> Modality:
    if isinstance(medium, Audio):
        return Modality.AUDIO
    return Modality.VIDEO if isinstance(medium, Video) else Modality.IMAGE
