"""Ovis' middles of segments, against its formula written out."""

from __future__ import annotations

import pytest

from hocket._errors import ConfigError
from hocket.media.frames import MidSegment


def ovis(count: int, least: int, most: int) -> list[int]:
    if least <= count <= most:
        return list(range(count))
    wanted = least if count < least else most
    stride = count / wanted
    picked = []
    for i in range(wanted):
        middle = (round(stride * i) + round(stride * (i + 1))) // 2
        picked.append(min(count - 1, middle))
    return picked


@pytest.mark.parametrize(("least", "most"), [(8, 8), (1, 8), (3, 10), (5, 64)])
def test_the_formula(least: int, most: int) -> None:
    for count in range(1, 200):
        assert MidSegment(least, most).pick(count, 0.0) == ovis(count, least, most)


def test_by_hand() -> None:
    assert MidSegment().pick(16, 0.0) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert MidSegment().pick(80, 0.0) == [5, 15, 25, 35, 45, 55, 65, 75]
    # 13 frames in 4: edges 0, 3.25, 6.5, 9.75, 13, or whole ones 0, 3, 6, 10, 13.
    assert MidSegment(1, 4, "exact").pick(13, 0.0) == [1, 4, 8, 11]
    assert MidSegment(1, 4).pick(13, 0.0) == [1, 4, 8, 11]
    assert MidSegment(1, 12, "exact").pick(31, 0.0) == [int((i + 0.5) * 31 / 12) for i in range(12)]
    assert MidSegment(4, 8).pick(2, 0.0) == [0, 0, 1, 1]
    assert MidSegment(1, 8).pick(5, 0.0) == [0, 1, 2, 3, 4]


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="min_frames 9 is above max_frames 8"):
        MidSegment(9, 8)
    with pytest.raises(ConfigError, match="max_frames is 0"):
        MidSegment(1, 0)
