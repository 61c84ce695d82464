"""What every reader must do; a new file is tested by giving it rows in tests/data/NAME.json."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chat.readers.rows import (
    WHERE,
    as_openai,
    make_files,
    media_of,
    read,
    rows_of,
    transcript,
)

from hocket._errors import DataError, MediaError, ReaderError
from hocket.chat.readers import readers
from hocket.chat.validate import check_conversation

NAMES = readers.names()
ROWS = [(name, row) for name in NAMES for row in rows_of(name)]
IDS = [f"{name}-{index}" for name in NAMES for index, _ in enumerate(rows_of(name))]
# None of these is what most keys hold.
WRONG: list[Any] = [None, 5, -1.5, True, "", "x", "\ud83d", [], [[]], [5], {}, {"path": 3}]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_files(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(("name", "row"), ROWS, ids=IDS)
def test_a_row_is_read_alike_every_time_and_not_changed(
    name: str, row: dict[str, Any], root: Path
) -> None:
    before = copy.deepcopy(row)
    first = read(name, row, root)
    assert row == before
    assert read(name, json.loads(json.dumps(row)), root) == first
    check_conversation(first, need_answer=True)
    assert first.source == WHERE


@pytest.mark.parametrize(("name", "row"), ROWS, ids=IDS)
def test_nothing_of_a_conversation_is_lost_when_it_is_written_and_read_again(
    name: str, row: dict[str, Any], root: Path
) -> None:
    first = read(name, row, root)
    meta = {key: value for key, value in first.meta.items() if key != "messages"}
    again = read("openai", as_openai(first, root), root)
    assert transcript(again, root) == transcript(first, root)
    assert media_of(again, root) == media_of(first, root)
    assert (again.id, again.tools) == (first.id, first.tools)
    assert {key: again.meta[key] for key in meta} == meta


@pytest.mark.parametrize(("name", "row"), ROWS, ids=IDS)
def test_keys_that_no_reader_knows_go_to_meta(name: str, row: dict[str, Any], root: Path) -> None:
    extra = {"zz_kept": {"deep": [1, None]}, "zz_null": None}
    found = read(name, {**row, **extra}, root)
    assert {key: found.meta[key] for key in extra} == extra
    plain = read(name, row, root)
    assert {key: found.meta[key] for key in found.meta if key not in extra} == plain.meta
    assert found.messages == plain.messages


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("row", [[], "text", 5, None, {}, {"id": "x"}, {"id": []}])
def test_a_row_of_another_shape_is_refused_in_one_line(name: str, row: Any, root: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read(name, row, root)
    assert str(caught.value).startswith(WHERE)
    assert "expected" in str(caught.value) or "no key" in str(caught.value)
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "row"), ROWS, ids=IDS)
def test_any_wrong_value_is_read_or_refused_by_name(
    name: str, row: dict[str, Any], root: Path
) -> None:
    refused = 0
    for broken in damaged(row):
        try:
            read(name, broken, root)
        except DataError as error:
            assert str(error).startswith(WHERE), broken
            assert len(str(error).splitlines()) == 1, broken
            assert len(str(error)) <= 420, error
            refused += 1
    assert refused


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_missing_is_named_with_its_row(
    name: str, root: Path, tmp_path: Path
) -> None:
    named = [row for row in rows_of(name) if media_of(read(name, row, root), root)]
    assert named or name == "text"
    for row in named:
        with pytest.raises(MediaError) as caught:
            read(name, row, tmp_path)
        assert str(caught.value).startswith(WHERE)


def damaged(value: Any) -> Iterator[Any]:
    """Yield copies of a JSON value with one value in it replaced or removed."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield {other: value[other] for other in value if other != key}
            for wrong in WRONG:
                yield {**value, key: wrong}
            for wrong in damaged(one):
                yield {**value, key: wrong}
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield value[:index] + value[index + 1 :]
            for wrong in [*WRONG, *damaged(one)]:
                yield [*value[:index], wrong, *value[index + 1 :]]
