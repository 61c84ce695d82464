"""Uniform frames are those that VILA 2 and NaVILA recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hocket._errors import ConfigError
from hocket.media.frames import Uniform

GOLDEN = Path(__file__).parents[2] / "golden"


def rows(name: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((GOLDEN / name).read_text())["vectors"]
    return vectors


def test_rounded_linspace_keeps_short_videos() -> None:
    assert Uniform(8).pick(100, 30.0) == [0, 14, 28, 42, 57, 71, 85, 99]
    assert Uniform(8).pick(3, 30.0) == [0, 1, 2]
    assert Uniform(1).pick(9, 30.0) == [0]
    for count in range(1, 60):
        for frames in range(1, 20):
            picked = Uniform(frames).pick(count, 1.0)
            assert picked == sorted(set(picked)) and len(picked) == min(count, frames)


def test_vila_2_without_a_rate() -> None:
    """The original trims a container that claims too much; a `Video` counts what is there."""
    recorded = [row for row in rows("pure_vila/video_index.json") if row["fps"] == 0]
    assert len(recorded) == 28
    for row in recorded:
        sampler = Uniform(row["num_frames"], short="repeat")
        assert sampler.pick(row["frames_readable"], row["video_fps"]) == row["index"], row


def test_navila_opencv() -> None:
    """Where the original gives black pictures for a file that has frames, we read the frames.

    It does so for a rate of 0, which the rule does not need, and for files of one frame. Of a file
    that claims more frames than it holds it drops what it cannot read; `Video.load` says that the
    file is cut off, so only the picks before the end can be compared.
    """
    recorded = rows("pure_navila/opencv_frames.json")
    assert len(recorded) == 82
    compared = 0
    for row in recorded:
        count, frames = row["frame_count"], row["num_frames"]
        picked = Uniform(frames, rounding="down").pick(count, row["fps"])
        if row["fps"] == 0 or count == 1:
            assert row["uniform"]["index"] == [-1] * frames
            assert picked[0] == 0 and len(picked) == min(count, frames)
            continue
        compared += 1
        there = row.get("frames_readable", count)
        assert [index for index in picked if index < there] == row["uniform"]["index"], row
    assert compared == 56


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rounding": "near"}, "Did you mean 'nearest'"),
        ({"short": "black"}, "Known: keep, repeat"),
        ({"short": 3}, "short is 3"),
    ],
)
def test_wrong_words(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Uniform(4, **options)
