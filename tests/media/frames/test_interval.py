"""One frame every so many seconds."""

from __future__ import annotations

import pytest

from hocket._errors import ConfigError, MediaError
from hocket.media.frames import AtFps, Interval


def test_every_few_seconds() -> None:
    assert Interval(2, 16).pick(150, 25.0) == [0, 50, 100]
    assert Interval(2, 16).pick(151, 25.0) == [0, 50, 100, 150]
    assert Interval(0.5, 99).pick(75, 25.0) == [0, 12, 25, 37, 50, 62]
    assert Interval(60, 16).pick(150, 25.0) == [0]
    assert Interval(0.01, 99).pick(3, 25.0) == [0, 1, 2]
    assert Interval(1, 4).pick(3000, 30.0) == [0, 990, 1980, 2970]


def test_it_is_a_rate_turned_over() -> None:
    for count in range(1, 200, 9):
        assert Interval(4, 5).pick(count, 10.0) == AtFps(0.25, 5).pick(count, 10.0)


def test_what_is_refused() -> None:
    with pytest.raises(MediaError, match="interval needs the frame rate"):
        Interval(1, 4).pick(10, 0.0)
    with pytest.raises(ConfigError, match="seconds is 0, expected above 0"):
        Interval(0, 4)
