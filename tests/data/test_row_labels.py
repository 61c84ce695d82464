"""What rows say of the classes of their media."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.toy import mixed, picture, talk, user

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Json
from hocket.data.row_labels import LabelKey, MediaLabels, any_row_has, labels_of
from hocket.tokens.span import Modality

SEEN = LabelKey("eye", "seen", 3, (Modality.IMAGE, Modality.VIDEO))
HEARD = LabelKey("ear", "heard", 2, (Modality.AUDIO,))
IMAGE, VIDEO, AUDIO = Modality.IMAGE, Modality.VIDEO, Modality.AUDIO


def row(at: int, **meta: Json) -> Conversation:
    return replace(mixed()[at], meta=meta)


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (row(0, seen=2, heard=1), [MediaLabels("eye", IMAGE, (2,))]),
        (row(2, seen=2, heard=1), []),
        (row(3, seen=[1]), [MediaLabels("eye", VIDEO, (1,)), MediaLabels("ear", AUDIO, (-100,))]),
        (
            row(4, seen=[0, None], heard=-100),
            [MediaLabels("eye", IMAGE, (0, -100)), MediaLabels("ear", AUDIO, (-100,))],
        ),
        (
            row(4, seen=1, heard=[0]),
            [MediaLabels("eye", IMAGE, (1, 1)), MediaLabels("ear", AUDIO, (0,))],
        ),
    ],
)
def test_a_number_is_for_all_and_a_list_for_each(
    sample: Conversation, expected: list[MediaLabels]
) -> None:
    assert list(labels_of(sample, [SEEN, HEARD])) == expected


def test_media_that_were_cut_take_their_labels_with_them() -> None:
    sample = row(4, seen=[0, 2], heard=1)
    assert labels_of(sample, [SEEN], [1, 2]) == (MediaLabels("eye", IMAGE, (2,)),)
    assert labels_of(sample, [SEEN], [2]) == ()


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"seen": 3}, "its seen is 3, expected a whole number from 0 to 2, or -100 for none"),
        ({"seen": -1}, "its seen is -1"),
        ({"seen": "1"}, "its seen is '1'"),
        ({"seen": True}, "its seen is True"),
        ({"seen": 1.0}, "its seen is 1.0"),
        ({"seen": [0, 4]}, "its seen is 4"),
        ({"seen": [0]}, "its seen lists 1 classes for 2 media"),
    ],
)
def test_a_wrong_class_is_named(meta: dict[str, Json], message: str) -> None:
    with pytest.raises(DataError, match=f"toy.json row all: {message}"):
        labels_of(row(4, **meta), [SEEN])


class Rows:
    """Rows of which the first cannot be read."""

    def __init__(self, *rows: Conversation) -> None:
        self._rows = rows
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self._rows) + 1

    def __getitem__(self, index: int, /) -> Conversation:
        self.read.append(index)
        if not index:
            raise DataError("damaged")
        return self._rows[index - 1]


def test_a_key_is_looked_for_until_a_row_has_it() -> None:
    plain = talk(user(picture()))
    one, other = Rows(plain, plain, plain), Rows(row(0, seen=None), row(0, seen=0))
    assert any_row_has({"one": one, "other": other}, "seen")
    assert one.read == [0, 1, 2]
    assert not any_row_has({"one": one}, "seen")
    assert not any_row_has({}, "seen")
