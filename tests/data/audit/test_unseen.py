"""A key that looks like media and is not read is named once, with how many rows have it."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest

from hocket.data.audit import AuditOptions, Finding, Kind
from hocket.data.audit.run import audit
from hocket.data.joined import JoinedRows
from hocket.data.mixture import open_source
from hocket.data.spec import DatasetSpec


def findings(folder: Path, rows: list[dict[str, object]], *, processes: int = 1) -> list[Finding]:
    PIL.Image.new("RGB", (8, 8)).save(folder / "a.png")
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes."}]
    whole = [
        {
            "id": str(number),
            "conversations": [*turns[:1], turns[1] | {"value": f"{number}."}],
            **row,
        }
        for number, row in enumerate(rows)
    ]
    (folder / "rows.json").write_text(json.dumps(whole))
    source = open_source("rows", DatasetSpec(path=str(folder / "rows.json")))
    found = audit(JoinedRows({"rows": source}), AuditOptions(headers=True), processes=processes)
    return [one for one in found if one.kind is Kind.UNSEEN]


def test_a_misspelt_key_is_named_once_with_its_rows(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{}, {"imgae": "a.png"}, {"imgae": ["a.png"]}, {}]
    (found,) = findings(tmp_path, rows)
    assert (found.row, found.id) == (1, "1")
    assert "2 rows have a key 'imgae', first row 1" in found.reason
    assert "Did you mean 'image'?" in found.reason


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("picture", "a.png", True),
        ("Image", "a.png", True),
        ("clips", ["a.mp4", "b.mp4"], True),
        ("image_id", "12345", False),
        ("image_size", [3, 4], False),
        ("url", "https://somewhere/a.png", False),
        ("task", "colour", False),
        ("imgae", "", False),
        ("images", [], False),
    ],
)
def test_what_looks_like_media(tmp_path: Path, key: str, value: object, told: bool) -> None:
    assert bool(findings(tmp_path, [{key: value}])) is told


def test_a_key_whose_files_are_shown_in_part_was_read(tmp_path: Path) -> None:
    frames = [f"{number}.png" for number in range(12)]
    for frame in frames:
        PIL.Image.new("RGB", (8, 8)).save(tmp_path / frame)
    row = {"video_id": "0", "frames": frames, "q": "go", "a": "The next action is stop."}
    (tmp_path / "walks.json").write_text(json.dumps([row]))
    spec = DatasetSpec(path=str(tmp_path / "walks.json"), reader="navila")
    rows = JoinedRows({"walks": open_source("walks", spec)})
    assert list(audit(rows, AuditOptions(headers=True), processes=1)) == []
