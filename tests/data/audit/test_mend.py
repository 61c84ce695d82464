"""A repaired copy: every change is named, the source stays as it was, the copy is clean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from tests.data.audit.broken import turns, write_broken

from hocket._errors import DataError, MachineError
from hocket.chat.conversation import Conversation
from hocket.chat.readers.llava import llava
from hocket.data.audit import AuditOptions, Kind
from hocket.data.audit.mend import Change, mend
from hocket.data.audit.run import audit
from hocket.data.joined import JoinedRows
from hocket.data.sources import Row, RowSource
from hocket.data.sources.json import JsonArray
from hocket.data.sources.memory import Memory


def mended(source: RowSource, target: Path, root: Path) -> list[Change]:
    def read(row: Row) -> Conversation:
        return llava(row, root=root, where="rows.json")

    findings = list(audit(JoinedRows({"a": source}), AuditOptions()))
    return list(mend(source, findings, target, read=read))


def test_a_broken_set_becomes_clean(tmp_path: Path) -> None:
    file, target = write_broken(tmp_path), tmp_path / "mended.json"
    before = file.read_bytes()
    changes = mended(JsonArray(file, reader=llava), target, tmp_path)
    assert file.read_bytes() == before
    assert sorted({change.row for change in changes}) == [0, 1, 2, 3, 4, 5, 7, 12, 14, 15]
    again = list(audit(JoinedRows({"a": JsonArray(target, reader=llava)}), AuditOptions()))
    assert {finding.kind for finding in again} == {Kind.SAME_MEDIUM}
    assert not list(tmp_path.glob("*.part"))
    rows = json.loads(target.read_text())
    assert len(rows) == 12
    whole = json.loads(before)
    assert rows[4] == whole[6]  # what was right is as it was


@pytest.mark.parametrize(
    ("texts", "media", "expected", "words"),
    [
        (("<image><image>\nA?", "B"), {"image": "8.png"}, ("<image>A?", "B"), "removed 1 <image>"),
        (
            ("<image>\nA?", "B"),
            {"image": ["8.png", "8.png"]},
            ("<image>\n<image>\nA?", "B"),
            "added 1 missing <image>",
        ),
        (("A?", "B", "C?", " "), {}, ("A?", "B"), "dropped turn 3 of 'gpt', which is empty"),
        (("A?", "B", "C?"), {}, ("A?", "B"), "dropped the last question"),
        (("<image>\nA?", "B"), {}, ("A?", "B"), "removed 1 <image> too many"),
        (("A?", ""), {}, None, "dropped the row"),
    ],
)
def test_single_repairs(
    tmp_path: Path,
    texts: tuple[str, ...],
    media: dict[str, Any],
    expected: tuple[str, ...] | None,
    words: str,
) -> None:
    write_broken(tmp_path)
    good = {"id": "z", "conversations": turns("Good?", "Yes.")}
    source = Memory(
        [{"id": "x", "conversations": turns(*texts)} | media, good], reader=llava, root=tmp_path
    )
    target = tmp_path / "out.json"
    changes = mended(cast(RowSource, source), target, tmp_path)
    assert any(words in change.what for change in changes), changes
    rows = json.loads(target.read_text())
    assert rows[-1] == good
    found = None if len(rows) == 1 else tuple(turn["value"] for turn in rows[0]["conversations"])
    assert found == expected


def test_ids_become_unique(tmp_path: Path) -> None:
    rows = [
        {"id": name, "conversations": turns(f"{number}?", "Yes.")}
        for number, name in enumerate(["a", "a-2", "a", "a"])
    ]
    source = cast(RowSource, Memory(rows, reader=llava))
    changes = mended(source, tmp_path / "out.json", tmp_path)
    found = [row["id"] for row in json.loads((tmp_path / "out.json").read_text())]
    assert found == ["a", "a-2", "a-3", "a-4"]
    assert len(changes) == 2


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "image": {"bytes": b"x", "path": "x.png"}, "conversations": turns("A", "B")}
    ]
    source = cast(RowSource, Memory(rows, reader=llava))

    def read(row: Row) -> Conversation:
        return llava(row, root=tmp_path, where="rows")

    with pytest.raises(DataError, match="row 0 holds media and not their paths"):
        list(mend(source, [], tmp_path / "out.json", read=read))
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be written"):
        list(mend(source, [], tmp_path / "file" / "out.json", read=read))
