from __future__ import annotations

import json
from pathlib import Path

import pytest

from hocket._errors import DataError
from hocket.chat.readers import readers
from hocket.data.sources import _index, jsonl
from hocket.data.sources.jsonl import JsonLines


def opened(tmp_path: Path, content: bytes) -> JsonLines:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    return JsonLines(file, reader=readers.get("llava"))


@pytest.mark.parametrize("piece", [1, 3, 7, 2**20])
def test_lines_are_rows_and_blank_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(jsonl, "_PIECE_BYTES", piece)
    content = b'\xef\xbb\xbf{"id": 1}\r\n\n   \t\n{"id": "\xc3\xa9"}\n{"id": 3}'
    source = opened(tmp_path, content)
    assert [source.row(n)["id"] for n in range(len(source))] == [1, "\u00e9", 3]
    assert source.where(1) == "rows.jsonl row 1 (line 4)"


def test_a_broken_line_costs_itself_and_is_named(tmp_path: Path) -> None:
    source = opened(tmp_path, b'{"id": 1}\n\n{"id": 2,}\n\xff\n{"id": 4}\n{"id"')
    assert len(source) == 5
    assert source.row(0) == {"id": 1}
    assert source.row(3) == {"id": 4}
    with pytest.raises(DataError, match=r"rows.jsonl row 1 \(line 3\) is not valid JSON: .*column"):
        source[1]
    with pytest.raises(DataError, match=r"row 2 \(line 4\) is not text"):
        source[2]
    with pytest.raises(DataError, match=r"row 4 \(line 6\) is not valid JSON"):
        source[4]


def test_a_row_without_id_is_called_by_its_number(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    source = opened(tmp_path, b"\n" + json.dumps(row).encode() + b"\n")
    assert source[0].id == "0"


def test_an_array_or_nothing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Set source: json"):
        opened(tmp_path, b'\n [{"id": 1}]')
    with pytest.raises(DataError, match="holds no rows"):
        opened(tmp_path, b"\n\n")
    with pytest.raises(DataError, match="is empty"):
        opened(tmp_path, b"")


def test_a_large_file_is_indexed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOCKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_index, "SMALL_FILE_BYTES", 0)
    content = b"".join(b'{"id": %d}\n' % n for n in range(100))
    assert len(opened(tmp_path, content)) == 100
    monkeypatch.setattr(jsonl, "_lines", lambda path: pytest.fail(f"{path} was read again"))
    source = JsonLines(tmp_path / "rows.jsonl", reader=readers.get("llava"))
    assert [source.row(n)["id"] for n in range(100)] == list(range(100))
