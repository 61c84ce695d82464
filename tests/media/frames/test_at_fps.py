"""The four rules of a rate in time, against what VILA 2, VITA and NaVILA recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hocket._errors import ConfigError, MediaError
from hocket.media.frames import AtFps

GOLDEN = Path(__file__).parents[2] / "golden"


def rows(name: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((GOLDEN / name).read_text())["vectors"]
    return vectors


def test_spread() -> None:
    assert AtFps(1.0, 16).pick(90, 30.0) == [0, 30, 60]
    assert AtFps(1.0, 16).pick(91, 30.0) == [0, 30, 60, 90]
    assert AtFps(2.0, 99).pick(75, 25.0) == [0, 12, 25, 37, 50, 62]
    assert AtFps(60.0, 99).pick(4, 30.0) == [0, 1, 2, 3]
    assert AtFps(0.1, 99).pick(4, 30.0) == [0]
    assert AtFps(1.0, 4).pick(3000, 30.0) == [0, 990, 1980, 2970]


@pytest.mark.parametrize("rule", ["spread", "stride", "ceiling"])
def test_frames_stay_inside_and_grow(rule: Any) -> None:
    for count in range(1, 80, 3):
        for fps in (0.5, 7.3, 23.976, 29.97, 60.0):
            for rate in (0.3, 1.0, 2.5, 24.0):
                picked = AtFps(rate, 1000, rule=rule).pick(count, fps)
                assert picked[0] == 0 and picked[-1] < count
                assert picked == sorted(set(picked))


def test_first_is_vila_2() -> None:
    recorded = [row for row in rows("pure_vila/video_index.json") if row["fps"]]
    assert len(recorded) == 56
    for row in recorded:
        sampler = AtFps(row["fps"], row["num_frames"], rule="first")
        assert sampler.pick(row["frames_readable"], row["video_fps"]) == row["index"], row


def test_first_repeats_frames_of_a_slow_video() -> None:
    assert AtFps(2.0, 99, rule="first").pick(3, 1.0) == [0, 0, 1, 1, 2, 2]
    for count in range(1, 200):
        assert AtFps(3.0, 999, rule="first").pick(count, 29.97)[-1] < count


def test_ceiling_is_navila_with_max_fps() -> None:
    """A video shorter than one tick is a random number of black pictures in the original.

    Here it is its first frame; and a file without a rate, black there too, is a MediaError.
    """
    compared = 0
    for row in rows("pure_navila/opencv_frames.json"):
        for rate, key in ((2.0, "max_fps_2"), (0.5, "max_fps_0.5")):
            sampler = AtFps(rate, row["num_frames"], rule="ceiling")
            if key not in row:
                continue
            recorded, count, fps = row[key]["index"], row["frame_count"], row["fps"]
            if fps == 0:
                assert isinstance(recorded, str)
                with pytest.raises(MediaError, match="frame rate"):
                    sampler.pick(count, fps)
            elif isinstance(recorded, str):
                assert count / fps * rate < 1
                assert sampler.pick(count, fps) == [0]
            else:
                assert sampler.pick(count, fps) == recorded, row
                compared += 1
    assert compared == 66


def vita(row: dict[str, Any]) -> AtFps:
    """VITA exchanges the ends and drops both when there is no start; so do our options."""
    start, end = row["s"], row["e"]
    window = {} if start is None else {"start_seconds": start, "end_seconds": end}
    return AtFps(1, row["max_frames"], rule="stride", min_frames=row["min_frames"], **window)


def test_stride_is_vita() -> None:
    recorded = [row for row in rows("pure_vita/video_positions.json") if "pos" in row]
    assert len(recorded) == 180
    for row in recorded:
        assert vita(row).pick(row["n"], row["fps"]) == row["pos"], row


def test_stride_where_vita_fails() -> None:
    """An empty window (UnboundLocalError there) is a MediaError, a stride of 0 (ValueError) is 1.

    The stride is 0 below half a frame per second, where a frame stays for more than two ticks.
    """
    failed = [row for row in rows("pure_vita/video_positions.json") if "error" in row]
    assert len(failed) == 140
    for row in failed:
        sampler, count, fps = vita(row), row["n"], row["fps"]
        if row["error"] == "UnboundLocalError":
            with pytest.raises(MediaError, match="but the video ends at"):
                sampler.pick(count, fps)
            continue
        assert round(fps) == 0
        low, high = (0, 10**9) if row["s"] is None else sorted((row["s"], row["e"]))
        inside = list(range(int(low * fps), min(count - 1, int((high + (low == high)) * fps)) + 1))
        picked = sampler.pick(count, fps)
        assert picked[0] == inside[0] and picked[-1] == inside[-1]
        assert row["min_frames"] <= len(picked) <= row["max_frames"]
        if row["min_frames"] <= len(inside) <= row["max_frames"]:
            assert picked == inside


@pytest.mark.parametrize("rule", ["spread", "first", "stride", "ceiling"])
def test_a_video_without_a_rate(rule: Any) -> None:
    with pytest.raises(MediaError, match="at_fps needs the frame rate"):
        AtFps(1.0, 4, rule=rule).pick(10, 0.0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rule": "strid"}, "Did you mean 'stride'"),
        ({"min_frames": 4}, "belong to rule=stride"),
        ({"end_seconds": 4}, "belong to rule=stride"),
        ({"rule": "stride", "min_frames": 9}, "above max_frames 8"),
        ({"rule": "stride", "start_seconds": -1}, "whole number from 0"),
        ({"rule": "stride", "end_seconds": 2.5}, "end_seconds is 2.5"),
    ],
)
def test_wrong_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        AtFps(1.0, 8, **options)
