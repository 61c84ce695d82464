from __future__ import annotations

import pickle

import pytest

from hocket._errors import ConfigError, DataError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.data.chosen import choose_rows
from hocket.data.merge import MergedRows, mix
from hocket.data.sources.memory import Memory


def rows(*ids: str) -> Memory:
    said = (Message(Role.USER, (Text("Q"),)), Message(Role.ASSISTANT, (Text("A"),)))
    return Memory([Conversation(one, said) for one in ids])


def ids(merged: MergedRows) -> list[str]:
    return [merged[at].id for at in range(len(merged))]


def test_every_row_once_in_order_without_a_shuffle() -> None:
    merged = mix({"a": rows("1", "2"), "b": rows("3")}, shuffle=False)
    assert ids(merged) == ["1", "2", "3"]
    assert [merged.where(at) for at in range(3)] == ["a row 0", "a row 1", "b row 0"]
    assert ids(MergedRows({"a": rows("1", "2"), "b": rows("3")})) == ["1", "2", "3"]


def test_the_order_is_a_function_of_the_seed() -> None:
    parts = {"a": rows(*"abcdef"), "b": rows(*"ghijkl")}
    assert sorted(ids(mix(parts, seed=1))) == sorted("abcdefghijkl")
    assert ids(mix(parts, seed=1)) == ids(mix(parts, seed=1)) != ids(mix(parts, seed=2))


def test_weights_and_caps_choose_rows() -> None:
    capped = choose_rows(rows(*"ghijkl"), most=2)
    merged = mix({"a": rows(*"abcd"), "b": capped}, weights=[0.5, 2], shuffle=False)
    assert len(merged) == 2 + 4
    assert ids(merged)[2:] == ["g", "g", "h", "h"]
    with pytest.raises(ConfigError, match="1 weights for 2 data sets"):
        mix({"a": rows("1"), "b": rows("2")}, weights=[1])


def test_ids_that_are_there_twice_get_one_that_is_free() -> None:
    merged = mix({"a": rows("1", "1-2", "2"), "b": rows("1", "3"), "c": rows("1")}, shuffle=False)
    assert merged.separate_ids(refuse=False) == 2
    assert ids(merged) == ["1", "1-2", "2", "1-3", "3", "1-4"]
    assert ids(pickle.loads(pickle.dumps(merged))) == ids(merged)
    with pytest.raises(DataError, match="'1' stands in a row 0 and in b row 0"):
        merged.separate_ids(refuse=True)
