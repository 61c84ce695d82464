"""Who knows no more than can be seen: it arrives, and what it says is in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from hocket.nav.captions import NOTHING
from hocket.nav.environment import NavAction, NavSpec
from hocket.nav.rooms.episodes import RoomsOptions, Split
from hocket.nav.rooms.plan import WALL_COLOURS
from hocket.nav.rooms.seeker import scene, seek
from hocket.nav.rooms.world import RoomsEnv

SPEC = NavSpec(width=96, height=8)


@pytest.mark.parametrize("level", [0, 1])
def test_most_walks_arrive(level: int) -> None:
    env = RoomsEnv(RoomsOptions(episodes=12, levels=(level,), split=Split.VAL_UNSEEN), SPEC)
    rng = np.random.default_rng(0)
    arrived = 0
    for episode in env.episodes():
        env.reset(episode)
        home = WALL_COLOURS[env.plan.paint[env.plan.room_at(*map(float, episode.start[:2]))]]
        goal, began, done = " ".join(episode.targets[-1].pair), NOTHING, False
        while not done:
            decision = seek(env, scene(env), goal, began=began, behind_door=level == 1, rng=rng)
            began = home
            for _ in range(decision.repeats):
                done = env.step(decision.action).done
            if decision.action is NavAction.STOP:
                arrived += env.distance(env.position(), episode.goal) < 1.0
    assert arrived >= 11


def test_what_is_said_is_where_it_says() -> None:
    env = RoomsEnv(RoomsOptions(episodes=1, levels=(1,)), SPEC)
    episode = env.episodes()[0]
    env.reset(episode)
    named = doors = 0
    for heading in range(0, 360, 15):
        env.stand(episode.start, float(heading))
        seen = scene(env)
        there = env.landmarks()
        for name, place in seen.things.items():
            assert abs(env.bearing(there[name]) - place.turn_deg) < 11.5
            named += 1
        if seen.door is not None:
            door = env.door()
            assert door is not None
            bearing = env.bearing(np.array([door.x, door.y]))
            assert abs(bearing - seen.door.turn_deg) < 11.5
            assert env.sees(np.array([door.x, door.y]))
            doors += 1
        assert seen.room in WALL_COLOURS
    assert named
    assert doors
