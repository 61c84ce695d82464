from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest

from hocket._errors import ConfigError, MediaError
from hocket.chat.readers import readers
from hocket.data.convert import Job, convert
from hocket.data.extract import Extracted, FrameOptions, write_frames
from hocket.data.merge import MergedRows
from hocket.data.sources.json import JsonArray
from hocket.data.sources.memory import Memory
from hocket.media.folder import TIMES
from hocket.media.frames import Uniform
from hocket.media.video import Video

ALL = Uniform(frames=100)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for number in range(25):
            pixels = np.full((32, 64, 3), number * 10, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def options(**more: object) -> FrameOptions:
    spec = {"kind": "uniform", "frames": 4}
    return FrameOptions(**{"sampler": spec, "format": "png", **more})


def test_a_folder_of_frames_reads_back_with_the_same_times(clip: Path, tmp_path: Path) -> None:
    assert write_frames(Video.from_path(clip), tmp_path / "f", options()) == 4
    frames, times = Video.from_path(clip).load(Uniform(frames=4))
    again, seconds = Video.from_folder(tmp_path / "f").load(ALL)
    assert np.array_equal(frames, again)
    assert times.tolist() == seconds.tolist() == [0.0, 0.8, 1.6, 2.4]
    assert Video.from_folder(tmp_path / "f").probe().fps == pytest.approx(1.25)
    assert write_frames(Video.from_path(clip), tmp_path / "f", options()) == 0


def test_pictures_are_shrunk_and_of_the_format_asked_for(clip: Path, tmp_path: Path) -> None:
    write_frames(Video.from_path(clip), tmp_path / "f", options(format="jpg", size=32))
    files = sorted((tmp_path / "f").glob("*.jpg"))
    assert len(files) == 4
    with PIL.Image.open(files[0]) as picture:
        assert picture.size == (32, 16)
    with pytest.raises(ConfigError, match="quality is 0"):
        options(quality=0)
    with pytest.raises(ConfigError, match="no frame sampler is called"):
        options(sampler={"kind": "unifrom"})


def test_a_damaged_video_leaves_no_folder(tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        write_frames(Video.from_path(bad), tmp_path / "f", options())
    assert [one.name for one in tmp_path.iterdir()] == ["bad.mp4"]


def test_times_that_do_not_fit_are_refused(clip: Path, tmp_path: Path) -> None:
    write_frames(Video.from_path(clip), tmp_path / "f", options())
    for wrong in ([0.0], [0, 2, 1, 3], ["a"] * 4, {"a": 1}):
        (tmp_path / "f" / TIMES).write_text(json.dumps(wrong))
        with pytest.raises(MediaError, match="expected 4 numbers"):
            Video.from_folder(tmp_path / "f")


def test_a_data_file_points_to_its_frames(clip: Path, tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "Light."}]
    rows = [{"id": str(one), "video": "clip.mp4", "conversations": turns} for one in range(3)]
    source = Memory(rows, reader=readers.get("llava"), root=tmp_path)
    out = tmp_path / "new" / "o.json"
    store = Extracted(out.parent, "frames", options())
    job = Job(rows=MergedRows({"v": source}), to="llava", container="json", out=out, store=store)
    outcome = convert(job)
    assert outcome.notes == {"videos": 1, "frames": 4}
    again = JsonArray(out, reader=readers.get("llava"))
    (video,) = again[2].media()
    assert isinstance(video, Video)
    assert video.load(ALL)[1].tolist() == [0.0, 0.8, 1.6, 2.4]
