"""Tables that spreadsheets call CSV are read whatever separates their cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.data.sources import sources
from hocket.data.sources._rows import FileRows


def read(file: Path, source: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []

    def reader(row: dict[str, object], *, root: Path, where: str) -> Conversation:
        found.append(dict(row))
        return Conversation(id="", messages=(Message(Role.USER, (Text("x"),)),), source=where)

    rows = sources.get(source)(file, reader=reader, root=None)
    assert isinstance(rows, FileRows)
    for number in range(len(rows)):
        rows[number]
    return found


@pytest.mark.parametrize("source", ["csv", "tsv"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_any_separator(tmp_path: Path, source: str, separator: str, mark: str) -> None:
    file = tmp_path / "rows.csv"
    lines = [["image", "caption"], ["a.png", f'"one{separator} two"'], ["b.png", "three, four"]]
    if separator == ",":
        lines[2][1] = '"three, four"'
    text = mark + "\n".join(separator.join(cells) for cells in lines) + "\n"
    file.write_text(text, encoding="utf-8")
    assert read(file, source) == [
        {"image": "a.png", "caption": f"one{separator} two"},
        {"image": "b.png", "caption": "three, four"},
    ]


def test_the_usual_separator_comes_first_and_one_column_is_one_column(tmp_path: Path) -> None:
    (tmp_path / "both.csv").write_text("a,b;c;d\n1,2;3\n")
    assert read(tmp_path / "both.csv", "csv") == [{"a": "1", "b;c;d": "2;3"}]
    (tmp_path / "one.csv").write_text("text\nhello; you, there\n")
    with pytest.raises(Exception, match="2 cells, expected 1"):
        read(tmp_path / "one.csv", "csv")
