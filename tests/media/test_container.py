"""FFmpeg opens media files only, and its errors name the file."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from hocket._errors import MediaError
from hocket.media.container import check_codec, opened, packets
from hocket.media.limits import DEFAULT_LIMITS, Limits
from hocket.media.where import Where


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(6):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_packets_of_one_stream(clip: Path) -> None:
    where = Where.of_path(clip)
    with opened(where, DEFAULT_LIMITS, noun="video") as container:
        stream = container.streams.video[0]
        check_codec(stream, where, instead="H.264")
        assert sum(1 for _ in packets(container, stream, where)) == 6


def test_a_list_of_other_files_is_not_followed(clip: Path, tmp_path: Path) -> None:
    listing = tmp_path / "all.ffconcat"
    listing.write_text(f"ffconcat version 1.0\nfile '{clip.name}'\n")
    with av.open(str(listing), format="concat", options={"safe": "0"}) as container:
        assert container.streams.video
    for where in (Where.of_path(listing), Where.of_bytes(listing.read_bytes(), name="listing")):
        with pytest.raises(MediaError), opened(where, DEFAULT_LIMITS, noun="video"):
            pass


def test_names_that_look_like_protocols_are_files(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = Path("concat:clip.mkv")
    odd.write_bytes(clip.read_bytes())
    with opened(Where.of_path(odd), DEFAULT_LIMITS, noun="video") as container:
        assert container.streams.video


def test_limits_come_first(clip: Path) -> None:
    with (
        pytest.raises(MediaError, match="max_file_bytes"),
        opened(Where.of_path(clip), Limits(max_file_bytes=9), noun="video"),
    ):
        pass
