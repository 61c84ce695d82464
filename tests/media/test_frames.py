"""Samplers pick the frames that their formulas say."""

from __future__ import annotations

import numpy as np
import pytest

from hocket._errors import ConfigError, MediaError, UnknownNameError
from hocket.media.frames import BLANK, AtFps, FrameSampler, History, Uniform, sampler_from


def navila(frames: list[int], count: int) -> list[int]:
    """NaVILA's vlnce_frame_sampling, with -1 for its black pictures."""
    frames = list(frames)
    while len(frames) < count:
        frames.insert(0, BLANK)
    last = len(frames) - 1
    past = np.linspace(0, last, num=count - 1, endpoint=False, dtype=int)
    return [frames[i] for i in past] + [frames[last]]


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
def test_history_is_navila(frames: int) -> None:
    for count in range(1, 70):
        assert History(frames).pick(count, 1.0) == navila(list(range(count)), frames)


def test_uniform_is_rounded_linspace_and_keeps_short_videos() -> None:
    assert Uniform(8).pick(100, 30.0) == [0, 14, 28, 42, 57, 71, 85, 99]
    assert Uniform(8).pick(3, 30.0) == [0, 1, 2]
    assert Uniform(1).pick(9, 30.0) == [0]
    for count in range(1, 60):
        for frames in range(1, 20):
            picked = Uniform(frames).pick(count, 1.0)
            assert picked == sorted(set(picked)) and len(picked) == min(count, frames)


def test_at_fps() -> None:
    assert AtFps(1.0, 16).pick(90, 30.0) == [0, 30, 60]
    assert AtFps(1.0, 16).pick(91, 30.0) == [0, 30, 60, 90]
    assert AtFps(2.0, 99).pick(75, 25.0) == [0, 12, 25, 37, 50, 62]
    assert AtFps(60.0, 99).pick(4, 30.0) == [0, 1, 2, 3]
    assert AtFps(0.1, 99).pick(4, 30.0) == [0]
    assert AtFps(1.0, 4).pick(3000, 30.0) == [0, 990, 1980, 2970]
    with pytest.raises(MediaError, match="frame rate"):
        AtFps(1.0, 4).pick(10, 0.0)


def test_at_fps_stays_inside_and_grows() -> None:
    for count in range(1, 80, 3):
        for fps in (0.5, 7.3, 23.976, 29.97, 60.0):
            for rate in (0.3, 1.0, 2.5, 24.0):
                picked = AtFps(rate, 1000).pick(count, fps)
                assert picked[0] == 0 and picked[-1] < count
                assert picked == sorted(set(picked))


@pytest.mark.parametrize("sampler", [Uniform(8), AtFps(0.5, 64), History(8)])
def test_specs_round_trip(sampler: FrameSampler) -> None:
    assert sampler_from(sampler.spec()) == sampler
    assert isinstance(sampler, FrameSampler)


def test_bad_specs() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'uniform'"):
        sampler_from({"kind": "unifrom", "frames": 8})
    for spec, match in (
        ({"frames": 8}, "kind is None"),
        ({"kind": "uniform"}, "expected .'frames'"),
        ({"kind": "uniform", "frames": 8, "fps": 1}, "fps"),
        ({"kind": "uniform", "frames": "8"}, "whole number"),
        ({"kind": "history", "frames": 0}, "whole number"),
        ({"kind": "at_fps", "rate": 0, "max_frames": 8}, "above 0"),
        ({"kind": "at_fps", "rate": "1", "max_frames": 8}, "a number"),
        ({"kind": "at_fps", "rate": float("nan"), "max_frames": 8}, "above 0"),
    ):
        with pytest.raises(ConfigError, match=match):
            sampler_from(spec)
