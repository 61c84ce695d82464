from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toy import assistant, talk, user

from hocket._errors import ConfigError, DataError
from hocket.data.split import group_rows, keys_of, share_groups
from hocket.media.image import Image

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
KEYS = st.lists(st.lists(st.sampled_from("abcdefghijklmnop"), max_size=2), max_size=60)


@settings(max_examples=100, deadline=None)
@given(keys=KEYS, seed=st.integers(0, 9))
def test_every_row_is_in_one_part_and_no_key_in_two(keys: list[list[str]], seed: int) -> None:
    groups = group_rows(enumerate(keys))
    parts = share_groups(groups, SHARES, seed=seed)
    assert sorted(row for rows in parts.values() for row in rows) == list(range(len(keys)))
    owners: dict[str, set[str]] = {}
    for part, rows in parts.items():
        for row in rows:
            for key in keys[row]:
                owners.setdefault(key, set()).add(part)
    assert all(len(parts_of) == 1 for parts_of in owners.values())


def test_groups_that_share_a_key_are_one() -> None:
    groups = group_rows(enumerate([["a"], ["b"], ["a", "b"], ["c"], []]))
    assert groups == {0: 0, 1: 0, 2: 0, 3: 3, 4: 4}


def test_rows_alone_are_shared_out_exactly() -> None:
    alone = {row: row for row in range(1000)}
    parts = share_groups(alone, SHARES, seed=0)
    assert {part: len(rows) for part, rows in parts.items()} == {
        "train": 800,
        "val": 100,
        "test": 100,
    }
    again = share_groups(alone, SHARES, seed=0)
    assert all((again[part] == rows).all() for part, rows in parts.items())
    other = share_groups(alone, SHARES, seed=1)
    assert (other["val"] != parts["val"]).any()


@pytest.mark.parametrize(
    "shares", [{"a": 0.5, "b": 0.4}, {"a": -0.5, "b": 1.5}, {"a": float("nan")}]
)
def test_shares_must_be_shares(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        share_groups({0: 0}, shares, seed=0)


def test_what_ties_rows_together() -> None:
    one = talk(
        user(Image.from_path(Path("a.png")), Image.from_path(Path("b.png")), "Which?"),
        assistant("The first."),
        name="scene-3-0007",
    )
    one = replace(one, meta={"scene": 3})
    assert len(keys_of(one, "media")) == 2
    assert keys_of(one, "media")[0] == keys_of(one, "media")[0]
    assert keys_of(one, "id-prefix") == ("scene-3",)
    assert keys_of(replace(one, id="plain"), "id-prefix") == ("plain",)
    assert keys_of(one, "scene") == ("3",)
    assert keys_of(one, "row") == ()
    with pytest.raises(DataError, match=r"no key 'scenes'.*Known: media, id-prefix, row, scene"):
        keys_of(one, "scenes")
