from __future__ import annotations

from pathlib import Path

import pytest

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.chat.readers import readers
from hocket.data.mixture import Mixture
from hocket.data.sources.memory import Memory

ROW = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
TALK = Conversation(id="own", messages=(Message(Role.USER, (Text("hello"),)),))


def test_rows_and_conversations_from_anything_that_can_be_gone_through() -> None:
    source = Memory((one for one in (ROW, TALK)), reader=readers.get("llava"), name="mine")
    assert len(source) == 2
    assert source[0].source == "mine row 0"
    assert source[0].id == "0"
    assert source[1] is TALK
    assert source.row(0) == ROW
    assert len(Mixture({"mine": (source, 1.0)}, seed=1)) == 2
    assert Memory([TALK])[0] is TALK
    with pytest.raises(IndexError):
        source[2]
    with pytest.raises(DataError, match="is a conversation already"):
        source.row(1)


def test_a_path_nothing_and_rows_without_a_reader_are_named() -> None:
    with pytest.raises(DataError, match="rows made in Python, not a file"):
        Memory(Path("a.json"))
    with pytest.raises(DataError, match="mine holds no rows"):
        Memory([], name="mine")
    with pytest.raises(DataError, match="memory row 1 is no conversation"):
        Memory([TALK, ROW])
