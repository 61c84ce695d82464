from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hocket._errors import ConfigError
from hocket.chat.readers import readers
from hocket.data.sources import sources
from hocket.data.toy import READER, write_toy
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.media.video import Video


def test_toy_data_is_what_ovis_reads_and_its_answers_are_true(tmp_path: Path) -> None:
    file = tmp_path / "new" / "toy.json"
    write_toy(file, rows=10, seed=3)
    found = json.loads(file.read_text("utf-8"))
    assert list(found) == ["conversations"]
    source = sources.get("json")(file, reader=readers.get(READER))
    assert len(source) == 10
    for row in range(10):
        conversation = source[row]
        for medium in conversation.media():
            if isinstance(medium, Image):
                assert medium.load().shape == (96, 96, 3)
            elif isinstance(medium, Video):
                frames, _ = medium.load(Uniform(6))
                assert _way(frames) in conversation.messages[-1].text
    thinking = source[1].messages[-1].text
    one, other = map(int, thinking.split("\n")[1].split(" = ")[0].split(" + "))
    assert thinking.endswith(f"{one + other}.")
    first, second = (medium.load() for medium in source[2].media() if isinstance(medium, Image))
    larger = "first" if _ink(first).sum() > _ink(second).sum() else "second"
    assert larger in source[2].messages[1].text


def test_a_seed_makes_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_toy(tmp_path / name / "toy.json", rows=5, seed=seed)
    data = [_everything(tmp_path / name) for name in "abc"]
    assert data[0] == data[1] != data[2]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.json", rows=1)
    with pytest.raises(ConfigError, match="exists"):
        write_toy(tmp_path / "toy.json", rows=1)
    (tmp_path / "toy.json").unlink()
    with pytest.raises(ConfigError, match="toy_media exists"):
        write_toy(tmp_path / "toy.json", rows=1)
    with pytest.raises(ConfigError, match=r"such as toy\.json"):
        write_toy(tmp_path / "toy.csv", rows=1)


def _ink(pixels: np.ndarray) -> np.ndarray:
    return np.abs(pixels.astype(int) - pixels[0, 0]).sum(-1) > 60


def _way(frames: np.ndarray) -> str:
    down, across = (
        np.argwhere(_ink(frames[-1])).mean(0) - np.argwhere(_ink(frames[0])).mean(0)
    ).tolist()
    if abs(across) > abs(down):
        return "right" if across > 0 else "left"
    return "down" if down > 0 else "up"


def _everything(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
