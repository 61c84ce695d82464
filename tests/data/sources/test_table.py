from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hocket._errors import DataError
from hocket.chat.readers import readers
from hocket.data.sources import _text
from hocket.data.sources._table import TableRows
from hocket.data.sources.csv import CommaTable
from hocket.data.sources.tsv import TabTable


def opened(
    tmp_path: Path, content: bytes, kind: type[TableRows] = CommaTable, reader: str = "caption"
) -> TableRows:
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    return kind(file, reader=readers.get(reader))


def test_cells_are_keyed_by_the_header(tmp_path: Path) -> None:
    content = (
        b"\xef\xbb\xbfid,image,caption\r\n"
        b'1,a.png,"a ""red"" chair,\nand a table"\r\n'
        b"\r\n"
        b'02,"[""a.png"", ""b.png""]",[laughs] no\r\n'
        b"3,,\xc3\xa9"
    )
    source = opened(tmp_path, content)
    assert [source.row(n) for n in range(len(source))] == [
        {"id": "1", "image": "a.png", "caption": 'a "red" chair,\nand a table'},
        {"id": "02", "image": ["a.png", "b.png"], "caption": "[laughs] no"},
        {"id": "3", "caption": "\u00e9"},
    ]
    assert [source.where(n) for n in range(3)] == [
        "rows.csv row 0 (line 2)",
        "rows.csv row 1 (line 5)",
        "rows.csv row 2 (line 6)",
    ]


def test_turns_may_stand_in_a_cell(tmp_path: Path) -> None:
    turns = '[{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]'
    content = f"id\tconversations\nx\t{turns.replace(chr(34), chr(34) * 2)}\n"
    content = content.replace("x\t", 'x\t"').replace("]\n", ']"\n')
    source = opened(tmp_path, content.encode(), TabTable, "llava")
    assert [message.text for message in source[0].messages] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"id,id\n1,2\n", "line 1 has the column 'id' twice"),
        (b"id,\n1,2\n", "line 1 has a column without a name"),
        (b"id,caption\n", "holds no rows"),
        (b"\n\n", "has no header"),
        (b'id,caption\n1,ok\n2,"never ends\n3,ok\n', "line 3: the record that begins here"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        opened(tmp_path, content)


def test_a_broken_row_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = b"x" * 500
    source = opened(tmp_path, b"id,caption\n1,ok\n2,a,b\n3,\xff\n4," + long + b"\n5,ok\n")
    monkeypatch.setattr(_text, "MAX_ROW_BYTES", 400)
    assert source.row(4) == {"id": "5", "caption": "ok"}
    with pytest.raises(DataError, match=r"row 1 \(line 3\) has 3 cells, expected 2"):
        source[1]
    with pytest.raises(DataError, match=r"row 2 \(line 4\) is not text"):
        source[2]
    with pytest.raises(DataError, match=r"row 3 \(line 5\) has 503 bytes, but at most 400"):
        source[3]


_CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(st.tuples(st.integers(0, 99), _CELLS, _CELLS), min_size=1, max_size=8),
    tabs=st.booleans(),
)
def test_what_a_writer_wrote_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, str]], tabs: bool
) -> None:
    kind = TabTable if tabs else CommaTable
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=kind.separator)
    writer.writerows([("id", "a", "b"), *((n, f"x{a}", f"x{b}") for n, a, b in rows)])
    source = opened(tmp_path_factory.mktemp("any"), stream.getvalue().encode(), kind)
    expected = [{"id": str(n), "a": f"x{a}", "b": f"x{b}"} for n, a, b in rows]
    assert [source.row(n) for n in range(len(source))] == expected
