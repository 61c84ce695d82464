from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hocket._errors import ConfigError, MediaError
from hocket.tokens.layout._film import frame_sides, read_pools
from hocket.tokens.layout.image_fixed import ImageFixed
from hocket.tokens.layout.image_tiles import ImageTiles

GOLDEN = Path(__file__).parents[2] / "golden" / "pure_vita" / "positions_slowfast.json"
COUNTS = json.loads(GOLDEN.read_text("utf-8"))["slow_fast_token_counts"]
RULES: dict[str, dict[str, Any]] = {
    "tokens": {"turns": (12, 7, 7, 7), "budget": 0},
    "tokens0": {"turns": (), "budget": 5200},
    "tokens1": {"turns": (), "budget": 4096},
    "tokens3": {"turns": (12, *(6,) * 15), "budget": 0},
}


@pytest.mark.parametrize("rule", RULES)
def test_rows_of_slow_and_fast_frames_are_vitas(rule: str) -> None:
    tried = 0
    for case in COUNTS:
        if rule in case:
            sides = frame_sides(case["frames"], **RULES[rule])
            assert [side**2 for side in sides] == case[rule], case["frames"]
            tried += 1
    assert tried >= 6


def test_videos_beyond_a_budget_are_refused() -> None:
    with pytest.raises(MediaError, match=r"65 frames, but .* at most 64"):
        frame_sides(65, turns=(), budget=4096)


@pytest.mark.parametrize("kind", [ImageFixed, ImageTiles])
def test_a_plan_has_the_rows_of_every_frame(kind: type[ImageFixed | ImageTiles]) -> None:
    slow = kind(size=112, patch=14, rows_per_unit=64, turns=(3, 2)).plan(20, 20, frames=3)
    assert (slow.rows, slow.pieces, slow.units, slow.frames) == (22, (9, 4, 9), 3, 3)
    pools = ("2x1x1", "4x2x4")
    film = kind(size=112, patch=14, rows_per_unit=64, pools=pools).plan(20, 20, frames=5)
    assert film.pieces == (64, 64, 64, 8, 8)
    assert (film.rows, film.frames, film.units) == (208, 5, 5)
    assert kind(size=112, turns=(3, 2)).plan(20, 20).frames == 0
    with pytest.raises(ConfigError, match="cannot be averaged 3 x 1"):
        kind(rows_per_unit=64, pools=("1x3x1",)).plan(20, 20, frames=5)
    with pytest.raises(ConfigError, match="counted in several ways"):
        kind(rows_per_unit=64, frame_pool=2, turns=(3,)).plan(20, 20, frames=5)


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="budget is 9, expected 0 or one of"):
        ImageFixed(budget=9)
    with pytest.raises(ConfigError, match="only one of both rules"):
        ImageTiles(budget=4096, turns=(3,))
    with pytest.raises(ConfigError, match="'8,1,1', expected frames x height x width"):
        ImageTiles(pools=("8,1,1",))
    assert read_pools("", ("8x1x2",)) == ((8, 1, 2),)


def test_texts_stand_behind_each_pool() -> None:
    pools = ("2x1x1", "4x2x4")
    for kind in (ImageFixed, ImageTiles):
        layout = kind(size=112, rows_per_unit=64, pools=pools, pool_after=("|",), before=("<",))
        film = layout.plan(20, 20, frames=5)
        assert (film.pieces, film.runs) == ((64, 64, 64, 8, 8), (3, 2))
        assert (film.front, film.closing) == (("<",), ("|",))
        assert layout.plan(20, 20).runs == ()


def test_tiles_of_frames_count_as_frames() -> None:
    layout = ImageTiles(size=28, patch=14, max_tiles=9, frame_tiles=4, frame_pool=2)
    film = layout.plan(28, 56, frames=3)
    # Two tiles and the overview of each frame, of which every two share their rows.
    assert (film.units, film.frames, film.tiles, film.rows) == (9, 9, (1, 2), 5 * 4)
    frames = np.random.default_rng(0).integers(0, 256, (3, 28, 56, 3), dtype=np.uint8)
    alone = [layout.units(one[None], layout.plan(28, 56)) for one in frames]
    assert np.array_equal(layout.units(frames, film), np.concatenate(alone))
    with pytest.raises(ConfigError, match="frame_tiles is 0"):
        ImageTiles(frame_tiles=0)
