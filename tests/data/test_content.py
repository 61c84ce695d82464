"""Hashes of media are those of their bytes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.toy import picture, sound, video, write_medium

from hocket._errors import MachineError, MediaError
from hocket.data.content import ContentHashes
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video


@pytest.fixture
def hashes(tmp_path: Path) -> ContentHashes:
    return ContentHashes(tmp_path / "contents.sqlite")


def test_equal_bytes_have_equal_hashes_wherever_they_are(
    hashes: ContentHashes, tmp_path: Path
) -> None:
    one, other, third = (tmp_path / name for name in ("1.png", "2.png", "3.png"))
    write_medium(one, seed=1)
    other.write_bytes(one.read_bytes())
    write_medium(third, seed=3)
    assert hashes.of(Image.from_path(one)) == hashes.of(Image.from_path(other))
    assert hashes.of(Image.from_path(one)) != hashes.of(Image.from_path(third))


def test_arrays_bytes_and_lists_of_pictures(hashes: ContentHashes, tmp_path: Path) -> None:
    assert hashes.of(picture(1)) == hashes.of(picture(1)) != hashes.of(picture(2))
    assert hashes.of(video(1)) == hashes.of(video(1)) != hashes.of(video(2))
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    times = [Video.from_array(frames, at) for at in ([0, 1], [0, 2])]
    assert hashes.of(times[0]) != hashes.of(times[1])
    wave = sound(1).wave
    assert wave is not None
    rates = [Audio.from_array(wave, rate=rate) for rate in (8000, 16000)]
    assert hashes.of(rates[0]) != hashes.of(rates[1])
    assert hashes.of(Image.from_bytes(b"one")) != hashes.of(Image.from_bytes(b"two"))
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for number, file in enumerate(files):
        write_medium(file, seed=number)
    films = [
        Video.from_frames(files),
        Video.from_frames(files[::-1]),
        Video.from_frames(files, fps=2),
    ]
    assert len({hashes.of(film) for film in films}) == 3


def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "1.png"
    write_medium(file, seed=1)
    first = ContentHashes(tmp_path / "contents.sqlite").of(Image.from_path(file))
    opened: list[Path] = []
    whole = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a: (opened.append(self), whole(self, *a))[1])
    hashes = ContentHashes(tmp_path / "contents.sqlite")
    assert hashes.of(Image.from_path(file)) == first
    assert opened == []
    write_medium(file, seed=2)
    os.utime(file, ns=(1, 1))
    assert hashes.of(Image.from_path(file)) != first
    assert opened == [file]


def test_files_that_cannot_be_read_are_named(hashes: ContentHashes, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"gone\.png: no such file"):
        hashes.of(Image.from_path(tmp_path / "gone.png"))


def test_damaged_hashes_are_begun_anew(tmp_path: Path) -> None:
    file, kept = tmp_path / "1.png", tmp_path / "contents.sqlite"
    write_medium(file, seed=1)
    found = ContentHashes(kept).of(Image.from_path(file))
    kept.write_bytes(b"no database at all" * 1000)
    assert ContentHashes(kept).of(Image.from_path(file)) == found


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "1.png"
    write_medium(file, seed=1)
    with pytest.raises(MachineError, match="Delete it, or set HOCKET_CACHE"):
        ContentHashes(tmp_path / "no" / "folder.sqlite").of(Image.from_path(file))
