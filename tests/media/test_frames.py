"""Every sampler has a name, comes back from its spec and stays inside the video."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from hocket._errors import ConfigError, UnknownNameError
from hocket.media.frames import (
    BLANK,
    AtFps,
    FrameSampler,
    History,
    Interval,
    MidSegment,
    Segments,
    Uniform,
    sampler_from,
    samplers,
)

ALL: list[FrameSampler] = [
    Uniform(8),
    Uniform(8, rounding="down", short="repeat"),
    AtFps(0.5, 64),
    AtFps(2, 64, rule="first"),
    AtFps(1, 16, rule="stride", min_frames=4, start_seconds=0, end_seconds=9),
    AtFps(1, 16, rule="ceiling"),
    History(8),
    Segments(8),
    Segments(8, seed=5, short="first"),
    MidSegment(),
    MidSegment(1, 5),
    MidSegment(1, 5, "exact"),
    Interval(2.5, 9),
]


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_specs_round_trip(sampler: FrameSampler) -> None:
    spec = json.loads(json.dumps(sampler.spec()))
    assert sampler_from(spec) == sampler
    assert isinstance(sampler, FrameSampler)


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_picks_are_ordered_frames_of_the_video(sampler: FrameSampler) -> None:
    for count in (1, 2, 3, 7, 8, 9, 50, 401):
        for fps in (0.4, 1.0, 10.0, 29.97):
            picked = sampler.pick(count, fps)
            assert picked == sorted(picked)
            assert picked[-1] >= 0
            assert all(BLANK <= index < count for index in picked)


def test_every_file_is_in_the_list_above() -> None:
    assert {str(sampler.spec()["kind"]) for sampler in ALL} == set(samplers.names())


def test_a_spec_holds_only_what_differs_from_the_defaults() -> None:
    assert Uniform(8).spec() == {"kind": "uniform", "frames": 8}
    assert AtFps(1.0, 4).spec() == {"kind": "at_fps", "rate": 1.0, "max_frames": 4}
    assert Segments(4, seed=0).spec() == {"kind": "segments", "frames": 4, "seed": 0}


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'uniform'"):
        sampler_from({"kind": "unifrom", "frames": 8})


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ({"frames": 8}, "kind is None"),
        ({"kind": "uniform"}, r"\['frames'\] missing"),
        ({"kind": "at_fps", "max_frames": 3}, r"\['rate'\] missing, found options \['max_frames'"),
        ({"kind": "uniform", "frames": 8, "fps": 1}, "no option 'fps'"),
        ({"kind": "uniform", "frames": 8, "roundin": "down"}, "Did you mean 'rounding'"),
        ({"kind": "uniform", "frames": "8"}, "whole number"),
        ({"kind": "uniform", "frames": True}, "whole number"),
        ({"kind": "history", "frames": 0}, "whole number"),
        ({"kind": "at_fps", "rate": 0, "max_frames": 8}, "above 0"),
        ({"kind": "at_fps", "rate": "1", "max_frames": 8}, "a number"),
        ({"kind": "at_fps", "rate": float("nan"), "max_frames": 8}, "above 0"),
    ],
)
def test_wrong_options(spec: Mapping[str, int | float | str], match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        sampler_from(spec)
    assert len(str(caught.value).splitlines()) <= 3


def test_samplers_need_no_torch() -> None:
    code = "import hocket.media.frames, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
