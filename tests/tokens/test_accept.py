"""What may be given as a medium."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from hocket.media.frames.uniform import Uniform
from hocket.tokens.accept import as_video


def test_a_folder_of_frames_is_a_video(tmp_path: Path) -> None:
    for number in (10, 2):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{number}.png")
    frames, times = as_video(str(tmp_path)).load(Uniform(frames=2))
    assert frames[:, 0, 0, 0].tolist() == [2, 10]
    assert times.tolist() == [0.0, 1.0]
