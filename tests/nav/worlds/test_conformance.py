"""What every world must do, whatever it is made of."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.nav.worlds.conftest import KINDS, SPEC, fake_habitat, habitat_files

from hocket._errors import ConfigError, DataError, HocketError, UnknownNameError
from hocket.nav.agent import RandomAgent, Turn
from hocket.nav.codec import sentence
from hocket.nav.environment import Guided, NavAction, NavEnv
from hocket.nav.loop import LoopOptions, walk_all
from hocket.nav.open_loop import compare
from hocket.nav.score import PROFILES
from hocket.nav.wire import episode_from_json, point
from hocket.nav.worlds import open_world, worlds

Make = Callable[[], NavEnv]


def test_every_kind_is_tested() -> None:
    assert tuple(worlds.names()) == KINDS


def test_a_world_keeps_its_promises(make_world: Make) -> None:
    world = make_world()
    episodes = world.episodes()
    assert len({one.id for one in episodes}) == len(episodes) > 1
    assert [one.id for one in world.episodes()] == [one.id for one in episodes]
    for episode in episodes:
        picture = world.reset(episode)
        assert picture.dtype == np.uint8
        assert picture.shape == (world.spec.height, world.spec.width, 3)
        np.testing.assert_allclose(world.position(), episode.start, atol=1e-6)
        assert world.position().shape == (3,)
        assert world.distance(episode.start, episode.start) == pytest.approx(0, abs=1e-9)
        assert 0 <= world.distance(episode.start, episode.goal) < np.inf
        assert episode.reference.shape[1] == 3
        assert episode.instruction
        assert world.outline().shape[1:] == (2, 2)
        assert all(at.shape == (3,) for at in world.landmarks().values())
        for action in (NavAction.LEFT, NavAction.FORWARD, NavAction.RIGHT):
            step = world.step(action)
            assert step.picture.shape == picture.shape
            assert isinstance(step.done, bool)
            assert isinstance(step.collided, bool)
        assert world.step(NavAction.STOP).done
    world.close()


def test_a_walk_ends_at_the_limit_and_begins_anew(make_world: Make) -> None:
    world = make_world()
    episode = world.episodes()[0]
    first = world.reset(episode)
    steps = 0
    while not world.step(NavAction.LEFT).done:
        steps += 1
        assert steps < world.spec.max_steps
    assert np.array_equal(world.reset(episode), first)
    np.testing.assert_allclose(world.position(), episode.start, atol=1e-6)
    world.close()


def test_the_loop_walks_every_world(make_world: Make) -> None:
    episodes = make_world().episodes()
    alone = [
        list(
            walk_all(make_world, episodes, RandomAgent(4), PROFILES["rooms"], LoopOptions(batch=b))
        )
        for b in (1, 2)
    ]
    paths = [{one.episode.id: one.path for one in outcomes} for outcomes in alone]
    assert paths[0].keys() == paths[1].keys() == {one.id for one in episodes}
    for name, path in paths[0].items():
        np.testing.assert_array_equal(path, paths[1][name])


def test_an_unknown_option_or_world_is_told_of() -> None:
    with pytest.raises(ConfigError, match="no option 'rooom'"):
        open_world("rooms", {"rooom": 1}, SPEC)
    with pytest.raises(UnknownNameError, match="Did you mean 'rooms'"):
        open_world("room", {}, SPEC)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("r2r_graph", {"connectivity": "nowhere", "episodes": "nowhere.json"}),
        ("replay", {"rows": "nowhere.json"}),
        ("habitat", {"episodes": "nowhere", "scenes": "nowhere"}),
        ("remote", {"url": "http://127.0.0.1:9", "timeout_seconds": 1.0}),
        ("remote", {"url": "file:///etc/passwd"}),
    ],
)
def test_what_is_missing_is_an_error_of_one_line(kind: str, options: dict[str, str]) -> None:
    with pytest.raises(HocketError) as found:
        open_world(kind, options, SPEC).episodes()
    assert len(str(found.value)) < 400


def test_habitat_measures_by_the_oracles_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "habitat_sim", fake_habitat())
    files = habitat_files(tmp_path)
    truth = tmp_path / "val_gt.json.gz"
    way = [[0.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [-3.0, 0.0, 0.0]]
    truth.write_bytes(gzip.compress(json.dumps({"0": {"locations": way}}).encode()))
    (one, other) = open_world("habitat", files, SPEC).episodes()
    assert len(one.reference) == len(other.reference) == 2
    english = {**files, "truth": str(truth)}
    with pytest.raises(DataError, match="KeyError"):
        open_world("habitat", english, SPEC).episodes()
    truth.write_bytes(gzip.compress(json.dumps({key: {"locations": way} for key in "01"}).encode()))
    assert open_world("habitat", english, SPEC).episodes()[1].reference.tolist() == way


def test_a_robot_is_somewhere_and_its_walks_have_a_way() -> None:
    with pytest.raises(ValueError, match="is no position"):
        point([0.0, float("nan"), 0.0])
    row = {"id": "1", "scene": "s", "instruction": "go", "start": [0, 0, 0], "heading_deg": 0,
           "goal": [1, 0, 0], "reference": []}  # fmt: skip
    with pytest.raises(ValueError, match=r"\[goal\] if nothing else is known"):
        episode_from_json(row)
    assert len(episode_from_json({**row, "reference": [row["goal"]]}).reference) == 1


def test_who_says_what_was_recorded_agrees_with_it(make_world: Make) -> None:
    class Recorded:
        """Says what the world's expert says, walking in a copy."""

        def __init__(self) -> None:
            self.world = make_world()
            self.episodes = {one.id: one for one in self.world.episodes()}

        def answer(self, turns: Sequence[Turn]) -> list[str]:
            return [self.say(turn) for turn in turns]

        def say(self, turn: Turn) -> str:
            assert isinstance(self.world, Guided)
            if not turn.asked:
                self.world.reset(self.episodes[turn.episode])
            decision = self.world.expert_decision()
            for _ in range(decision.repeats):
                self.world.step(decision.action)
            return sentence(decision)

    if not isinstance(make_world(), Guided):
        with pytest.raises(ConfigError, match="does not know the way"):
            compare(make_world, RandomAgent())
        return
    found = compare(make_world, Recorded())
    assert (found.same_action, found.same_decision, found.invalid) == (1.0, 1.0, 0)
    assert compare(make_world, RandomAgent()).same_decision < 0.5
