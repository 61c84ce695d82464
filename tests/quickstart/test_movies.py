"""Videos show what their answer says, also after they were encoded and decoded."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from hocket._errors import ConfigError, UnknownNameError
from hocket.media.frames import Uniform
from hocket.media.video import Video
from hocket.quickstart import movies
from hocket.quickstart.digits import draw, load_scans
from hocket.quickstart.movies import DIRECTIONS, encode_film, film_motion, film_order

INK = load_scans().ink


def decoded(data: bytes, path: Path, frames: int = 8) -> np.ndarray:
    path.write_bytes(data)
    return Video.from_path(path).load(Uniform(frames))[0]


def centre(frame: np.ndarray) -> np.ndarray:
    """Return (row, column) of the centre of the ink."""
    dark = 255.0 - frame.mean(axis=-1)
    dark[dark < 64] = 0
    return np.array([(dark.sum(axis=1 - axis) @ np.arange(32)) / dark.sum() for axis in (0, 1)])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("frames", [3, 4, 6, 8])
def test_order_survives_any_sampling(seed: int, frames: int, tmp_path: Path) -> None:
    film = film_order(INK[[5, 11, 22]], rng=np.random.default_rng(seed))
    seen = decoded(encode_film(film), tmp_path / "a.mp4", frames)
    pictures = np.stack([draw(INK[at]) for at in (5, 11, 22)]).astype(int)
    nearest = [int(np.abs(pictures - frame).mean(axis=(1, 2, 3)).argmin()) for frame in seen]
    assert nearest == sorted(nearest)
    assert set(nearest) == {0, 1, 2}


@pytest.mark.parametrize("name", ["libx264", "mpeg4"])
def test_a_digit_stays_readable(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(movies, "encoder", lambda: name)
    film = film_order(INK[[1, 2, 3]], rng=np.random.default_rng(0))
    seen = decoded(encode_film(film), tmp_path / "a.mp4")
    assert np.abs(seen.astype(int) - film).mean() < 3


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_motion_goes_where_it_says(direction: str, seed: int, tmp_path: Path) -> None:
    film = film_motion(INK[40 + seed], direction, rng=np.random.default_rng(seed))
    seen = decoded(encode_film(film), tmp_path / "a.mp4")
    path = np.stack([centre(frame) for frame in seen])
    moved = path[-1] - path[0]
    along = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}[direction]
    assert moved @ np.array(along) > 7
    assert np.abs(moved[np.array(along) == 0]).max() < 0.5


def test_the_first_frame_alone_does_not_tell_the_direction() -> None:
    starts = {
        direction: {
            film_motion(INK[0], direction, rng=np.random.default_rng(seed))[0].tobytes()
            for seed in range(500)
        }
        for direction in DIRECTIONS
    }
    for horizontal, vertical in product(("left", "right"), ("up", "down")):
        shared = starts[horizontal] & starts[vertical]
        assert len(shared) > 0.3 * len(starts[horizontal])
    assert starts["left"] & starts["right"]
    assert starts["up"] & starts["down"]


def test_same_frames_give_the_same_bytes() -> None:
    film = film_motion(INK[7], "up", rng=np.random.default_rng(0))
    assert encode_film(film) == encode_film(film)


def test_probe_says_what_the_file_holds() -> None:
    film = film_motion(INK[7], "up", rng=np.random.default_rng(0))
    info = Video.from_bytes(encode_film(film)).probe()
    assert (info.frames, info.fps, info.height, info.width) == (8, 8.0, 32, 32)


def test_wrong_requests_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="given 2 digits"):
        film_order(INK[:2], rng=rng)
    with pytest.raises(UnknownNameError, match="no direction is called 'upp'"):
        film_motion(INK[0], "upp", rng=rng)
