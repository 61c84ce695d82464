from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.toy import write_rows

from hocket._errors import DataError
from hocket.chat.readers import readers
from hocket.data.sources.json import JsonArray


def opened(path: Path) -> JsonArray:
    return JsonArray(path, reader=readers.get("llava"), root=path.parent)


def test_rows_become_conversations_that_know_where_they_are(tmp_path: Path) -> None:
    source = opened(write_rows(tmp_path))
    assert len(source) == 12
    assert source[5].id == "row-5"
    assert source[5].source == "rows.json row 5"


def test_an_object_may_hold_the_rows(tmp_path: Path) -> None:
    file = write_rows(tmp_path)
    file.write_text(json.dumps({"conversations": json.loads(file.read_text())}))
    assert len(opened(file)) == 12


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"[", "not valid JSON: .* line 1, column 2"),
        (b"\xff\xfe", "not text .byte 0."),
        (b"{}", "expected an array of rows"),
        (b"3", "expected an array of rows"),
        (b"[]", "holds no rows"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_another_content_is_named_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "rows.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        opened(file)
    assert "rows.json" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data file"):
        opened(tmp_path / "none.json")
    with pytest.raises(DataError, match="is a folder"):
        opened(tmp_path)
