from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile

from hocket._errors import DataError
from hocket.data.prepare import PREPARED, REPORT, Stage, open_raw


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    PIL.Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", np.zeros(1600, np.float32), 16000)
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    return tmp_path


def row(key: str, path: str) -> dict[str, object]:
    turns = [{"from": "human", "value": f"<{key}>\n"}, {"from": "gpt", "value": "A."}]
    return {"id": path, key: path, "conversations": turns}


def write(folder: Path, name: str, *rows: dict[str, object]) -> Path:
    (folder / name).write_text(json.dumps(rows))
    return folder / name


def test_data_files_of_a_folder_are_opened_in_order(raw: Path) -> None:
    write(raw, "10.json", row("image", "a.png"))
    write(raw, "2.json", row("image", "a.png"), row("image", "a.png"))
    specs, rows = open_raw(raw, Stage.VISION, reader="vita")
    assert [Path(name).name for name in specs] == ["2.json", "10.json"]
    assert [len(one) for one in rows.values()] == [2, 1]
    assert next(iter(rows.values()))[0].id == "a.png"


def test_media_with_captions_need_no_data_file(raw: Path) -> None:
    (raw / "cut.png").unlink()
    (raw / "a.txt").write_text("a black square")
    (_, rows) = open_raw(raw, Stage.VISION, reader="vita")
    (part,) = rows.values()
    assert part[0].messages[-1].text == "a black square"


def test_only_the_data_of_a_prepared_folder_counts(raw: Path) -> None:
    write(raw, PREPARED, row("image", "a.png"))
    write(raw, REPORT)
    specs, _ = open_raw(raw, Stage.VISION, reader="vita")
    assert [*specs] == [str(raw / PREPARED)]


@pytest.mark.parametrize(
    ("stage", "given", "said"),
    [
        (Stage.VISION, row("audio", "a.wav"), "no image or video"),
        (Stage.AUDIO, row("image", "a.png"), "no audio"),
        (Stage.VISION, row("image", "cut.png"), "cut.png"),
        (Stage.VISION, row("image", "gone.png"), "gone.png"),
        (
            Stage.JOINT,
            {"id": "q", "image": "a.png", "conversations": [{"from": "human", "value": "Q"}]},
            "assistant",
        ),
    ],
)
def test_rows_are_looked_at(stage: Stage, given: dict[str, object], said: str, raw: Path) -> None:
    _, rows = open_raw(write(raw, "d.json", given), stage, reader="llava")
    (part,) = rows.values()
    with pytest.raises(DataError, match=said):
        part[0]


def test_what_is_not_there_is_said(raw: Path) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        open_raw(raw / "gone", Stage.VISION, reader="vita")
    with pytest.raises(DataError, match=r"expected one of \.json"):
        open_raw(raw / "a.png", Stage.VISION, reader="vita")
