"""The files of a folder come in the order of the numbers in their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from hocket._errors import MediaError
from hocket.media.folder import frame_files


def names(folder: Path, *, pattern: str | None = None) -> list[str]:
    return [path.name for path in frame_files(folder, pattern=pattern)]


def make(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).write_bytes(b"x")
    return folder


def test_numbers_are_compared_as_numbers(tmp_path: Path) -> None:
    make(tmp_path, "a10.png", "a9.png", "a1.png", "a1b2.PNG", "b0.png", "a.png", "9.png", "10.png")
    expected = ["9.png", "10.png", "a.png", "a1.png", "a1b2.PNG", "a9.png", "a10.png", "b0.png"]
    assert names(tmp_path) == expected


def test_times_and_leading_zeros(tmp_path: Path) -> None:
    make(tmp_path, "t-1.5.jpg", "t-1.25.jpg", "t-01.5.jpg", "t-10.0.jpg", "t-2.0.jpg")
    expected = ["t-01.5.jpg", "t-1.5.jpg", "t-1.25.jpg", "t-2.0.jpg", "t-10.0.jpg"]
    assert names(tmp_path) == expected


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "1.png", ".DS_Store", ".2.png")
    (tmp_path / "depth").mkdir()
    assert names(tmp_path) == ["1.png"]


def test_a_pattern_chooses_among_several_endings(tmp_path: Path) -> None:
    make(tmp_path, "rgb_1.jpg", "rgb_2.jpg", "depth_1.png", "times.txt")
    with pytest.raises(MediaError, match=r"several endings \('.jpg', '.png', '.txt'\)") as caught:
        frame_files(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert names(tmp_path, pattern="*.jpg") == ["rgb_1.jpg", "rgb_2.jpg"]
    assert names(tmp_path, pattern="*_1.*") == ["depth_1.png", "rgb_1.jpg"]
    with pytest.raises(MediaError, match=r"none of its 4 files matches '\*.webp'"):
        frame_files(tmp_path, pattern="*.webp")


def test_what_is_no_folder_of_frames(tmp_path: Path) -> None:
    file = make(tmp_path, "a.png") / "a.png"
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, match in (
        (tmp_path / "no", "no such folder"),
        (file, "a file, not a folder"),
        (empty, "none of its 0 files can be a frame"),
        ("a\0b", "cannot be listed"),
    ):
        with pytest.raises(MediaError, match=match) as caught:
            frame_files(path)
        assert str(path) in str(caught.value)
