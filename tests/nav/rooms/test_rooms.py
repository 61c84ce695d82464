"""The rooms: places, ways, pictures, walks."""

from __future__ import annotations

import heapq
import math
from importlib.resources import files

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hocket._errors import ConfigError
from hocket.nav.environment import NavAction, NavSpec
from hocket.nav.rooms.episodes import HELD_OUT, RoomsOptions, Split, make_episode
from hocket.nav.rooms.instructions import languages
from hocket.nav.rooms.plan import (
    COLOURS,
    MORE_COLOURS,
    SHAPES,
    WALL_COLOURS,
    Plan,
    make_plan,
)
from hocket.nav.rooms.view import View
from hocket.nav.rooms.ways import Ways
from hocket.nav.rooms.world import RoomsEnv
from hocket.nav.score import PROFILES, Walk, score_walk

Array = NDArray[np.float64]
GRID_M = 0.1


def free_points(plan: Plan, ways: Ways, count: int) -> list[Array]:
    rng = np.random.default_rng(plan.seed)
    points = rng.uniform(0, 1, (400, 2)) * plan.size_m
    inside = np.array([plan.room_at(*map(float, point)) >= 0 for point in points])
    return list(points[inside & ~ways.blocked(points)][:count])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), rooms=st.integers(1, 3))
def test_every_room_and_landmark_can_be_reached(seed: int, rooms: int) -> None:
    plan = make_plan(seed, rooms=rooms, landmarks=3)
    assert len(plan.doors) == rooms - 1
    assert set(np.unique(plan.room)) == {-1, *range(rooms)}
    ways = Ways(plan)
    start = free_points(plan, ways, 1)[0]
    for one in plan.landmarks:
        assert math.isfinite(ways.distance(start, np.array([one.x, one.y])))
        assert plan.room_at(one.x, one.y) == one.room
    again = make_plan(seed, rooms=rooms, landmarks=3)
    assert again.landmarks == plan.landmarks
    assert (again.wall == plan.wall).all()


def on_a_grid(ways: Ways, size: tuple[float, float], start: Array, goal: Array) -> float:
    """The shortest way over a fine grid with 8 neighbours: never shorter than the true one."""
    shape = tuple(int(side / GRID_M) + 1 for side in size)
    points = np.stack(np.meshgrid(*(np.arange(n) * GRID_M for n in shape), indexing="ij"), -1)
    free = ~ways.blocked(points.reshape(-1, 2)).reshape(shape)
    first = tuple(np.round(start / GRID_M).astype(int))
    last = tuple(np.round(goal / GRID_M).astype(int))
    far = {first: 0.0}
    queue = [(0.0, first)]
    while queue:
        length, at = heapq.heappop(queue)
        if at == last:
            return length
        if length > far[at]:
            continue
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                other = (at[0] + dx, at[1] + dy)
                if not (0 <= other[0] < shape[0] and 0 <= other[1] < shape[1]) or not free[other]:
                    continue
                total = length + GRID_M * math.hypot(dx, dy)
                if total < far.get(other, math.inf):
                    far[other] = total
                    heapq.heappush(queue, (total, other))
    return math.inf


@pytest.mark.parametrize("seed", range(4))
def test_the_shortest_way_is_a_little_shorter_than_any_on_a_grid(seed: int) -> None:
    plan = make_plan(seed, rooms=2, landmarks=3)
    ways = Ways(plan)
    one, other = (np.round(point / GRID_M) * GRID_M for point in free_points(plan, ways, 2))
    if ways.blocked(np.stack([one, other])).any():
        pytest.skip("rounding put a point into a wall")
    exact, coarse = ways.distance(one, other), on_a_grid(ways, plan.size_m, one, other)
    assert exact <= coarse + 1e-9
    # Eight directions are at most 8.3 % longer; the ends add two cells.
    assert exact >= coarse / 1.083 - 2 * GRID_M
    assert exact == pytest.approx(ways.distance(other, one), abs=1e-9)
    path = ways.path(one, other)
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).sum() == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("split", list(Split))
def test_the_expert_arrives(level: int, split: Split) -> None:
    options = RoomsOptions(episodes=2, levels=(level,), split=split, seed=5)
    env = RoomsEnv(options, NavSpec(width=8, height=8, max_steps=200))
    for episode in env.episodes():
        env.reset(episode)
        path, done, action = [env.position()], False, NavAction.FORWARD
        while not done:
            action = env.expert_action()
            done = env.step(action).done
            if action is not NavAction.STOP:
                path.append(env.position())
        walk = Walk(np.array(path), action is NavAction.STOP)
        found = score_walk(
            walk,
            episode.goal,
            episode.reference,
            env.distance,
            PROFILES["rooms"],
            shortest_m=episode.shortest_m,
        )
        assert found["sr"] == 1
        assert found["spl"] > 0.9
        assert found["ndtw"] > 0.6


def test_pairs_that_are_held_out_are_never_trained() -> None:
    for split in (Split.TRAIN, Split.VAL_SEEN):
        options = RoomsOptions(episodes=20, levels=(0, 1), split=split)
        for index in range(20):
            plan = make_episode(options, index).plan
            assert not {one.pair for one in plan.landmarks} & set(HELD_OUT)
    options = RoomsOptions(episodes=20, levels=(0, 1), split=Split.VAL_UNSEEN)
    assert all(make_episode(options, index).targets[-1].pair in HELD_OUT for index in range(20))
    assert {colour for colour, _ in HELD_OUT} == set(COLOURS)
    assert {shape for _, shape in HELD_OUT} == set(SHAPES)


def test_splits_have_other_places() -> None:
    seeds = [
        {make_episode(RoomsOptions(split=split), index).plan.seed for index in range(10)}
        for split in (Split.TRAIN, Split.VAL_SEEN)
    ]
    assert not seeds[0] & seeds[1]


def test_a_picture_shows_what_the_sightings_say() -> None:
    episode = make_episode(RoomsOptions(seed=2), 0)
    target = episode.targets[0]
    view = View(episode.plan, width=64, height=64, hfov_deg=90)
    away = np.array([target.x, target.y]) - episode.start[:2]
    heading = math.degrees(math.atan2(away[1], away[0]))
    seen = view.sightings(episode.start[:2], heading)
    middle = [one for one in seen if one.landmark == target]
    if not middle:
        pytest.skip("something is in front of it")
    assert middle[0].depth_m == pytest.approx(np.linalg.norm(away))
    assert abs(middle[0].bearing_deg) < 1
    picture = view.draw(episode.start[:2], heading)
    assert picture.shape == (64, 64, 3)
    behind = view.sightings(episode.start[:2], heading + 180)
    assert target not in [one.landmark for one in behind]


def test_every_language_says_every_level() -> None:
    texts = {
        make_episode(RoomsOptions(levels=(level,), languages=(language,)), 0).instruction
        for level in range(4)
        for language in languages()
    }
    assert len(texts) == 16
    assert not any("{" in text for text in texts)


def test_a_blocked_agent_slides_or_stands() -> None:
    plan = make_plan(0, landmarks=0)
    ways = Ways(plan)
    start = np.array([0.25 + 0.15, 2.0])
    into = np.array([-0.2, 0.15])
    slid, met = ways.move(start, into, sliding=True)
    assert met
    assert slid == pytest.approx([0.4, 2.15])
    stood, met = ways.move(start, into, sliding=False)
    assert met
    assert stood == pytest.approx(start)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"levels": (4,)}, "levels: 4 is none"),
        ({"languages": ("fr",)}, "no instructions in 'fr'; there are en, zh, hi, te"),
        ({"side_m": 2.0}, "side_m: 2 is not between 4 and 20"),
        ({"episodes": 0}, "needs an episode"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RoomsOptions(**options)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("language", languages())
def test_no_word_of_a_language_means_two_colours(language: str) -> None:
    text = files("hocket.nav.rooms").joinpath("words.yaml").read_text(encoding="utf-8")
    words = yaml.safe_load(text)[language]
    assert {*words["colours"]} == {*COLOURS, *MORE_COLOURS}
    assert {*words["walls"]} == {*WALL_COLOURS}
    said = [*words["colours"].values(), *words["walls"].values()]
    assert len({*said}) == len(said)
