"""One small world of every kind, opened as a user would open it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hocket.nav.agent import RandomAgent
from hocket.nav.collect import CollectOptions, collect
from hocket.nav.environment import NavEnv, NavSpec
from hocket.nav.rooms.episodes import RoomsOptions
from hocket.nav.rooms.world import RoomsEnv
from hocket.nav.serve import serve_world
from hocket.nav.worlds import open_world

SPEC = NavSpec(width=32, height=32, max_steps=30)
ROOMS = RoomsOptions(episodes=3, levels=(0, 1), seed=3)
Make = Callable[[], NavEnv]


def graph_files(folder: Path) -> dict[str, str]:
    """A square of four places, two metres a side, a fifth that is not included."""
    names = ["a", "b", "c", "d", "e"]
    corners = [(0, 0), (2, 0), (2, 2), (0, 2), (9, 9)]
    edges = {("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")}
    rows = []
    for name, (x, y) in zip(names, corners, strict=True):
        pose = [1, 0, 0, x, 0, 1, 0, y, 0, 0, 1, 1.5, 0, 0, 0, 1]
        joined = [(name, other) in edges or (other, name) in edges for other in names]
        rows.append(
            {"image_id": name, "pose": pose, "included": name != "e", "unobstructed": joined}
        )
    (folder / "house_connectivity.json").write_text(json.dumps(rows), encoding="utf-8")
    walk = {
        "path_id": 7,
        "scan": "house",
        "heading": 0.0,
        "path": ["a", "b", "c"],
        "instructions": ["Go round the corner.", "Walk on and stop."],
    }
    (folder / "R2R_val.json").write_text(json.dumps([walk]), encoding="utf-8")
    return {"connectivity": str(folder), "episodes": str(folder / "R2R_val.json")}


class FakeSimulator:
    """An endless floor: what habitat-sim's `Simulator` is called for, and no more."""

    def __init__(self, configuration: Any) -> None:
        world, (agent,) = configuration
        self.spec = agent.sensor_specifications[0]
        self.amounts = {name: one.actuation.amount for name, one in agent.action_space.items()}
        self.scene = world.scene_id
        self.pathfinder = self

    def initialize_agent(self, number: int, state: Any) -> None:
        self.at = np.array(state.position, np.float64)
        _, y, _, w = state.rotation
        self.heading = 2 * np.arctan2(y, w)

    def get_sensor_observations(self) -> dict[str, Any]:
        height, width = self.spec.resolution
        return {self.spec.uuid: np.full((height, width, 4), 7, np.uint8)}

    def step(self, name: str) -> dict[str, Any]:
        if name == "move_forward":
            way = np.array([-np.sin(self.heading), 0.0, -np.cos(self.heading)])
            self.at = self.at + self.amounts[name] * way
        else:
            turn = np.radians(self.amounts[name])
            self.heading += turn if name == "turn_left" else -turn
        return {**self.get_sensor_observations(), "collided": False}

    def get_agent(self, number: int) -> Any:
        holder = type("Agent", (), {})()
        holder.get_state = lambda: type("State", (), {"position": self.at})()
        return holder

    def find_path(self, path: Any) -> bool:
        path.geodesic_distance = float(np.linalg.norm(path.requested_end - path.requested_start))
        return True

    def close(self) -> None:
        self.scene = ""


def fake_habitat() -> ModuleType:
    """A module with the names that the adapter uses."""

    class Plain:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            vars(self).update(kwargs)

    class ActionSpec:
        def __init__(self, name: str, actuation: Any) -> None:
            self.name, self.actuation = name, actuation

    module = ModuleType("habitat_sim")
    names: dict[str, Any] = {
        "AgentState": Plain,
        "SimulatorConfiguration": Plain,
        "CameraSensorSpec": Plain,
        "ShortestPath": Plain,
        "SensorType": type("SensorType", (), {"COLOR": 1}),
        "Configuration": lambda world, agents: (world, agents),
        "Simulator": FakeSimulator,
        "agent": type(
            "agent",
            (),
            {"AgentConfiguration": Plain, "ActionSpec": ActionSpec, "ActuationSpec": Plain},
        ),
    }
    vars(module).update(names)
    return module


def habitat_files(folder: Path) -> dict[str, str]:
    """Two walks in one scene."""
    rows = [
        {
            "episode_id": number,
            "scene_id": "mp3d/house.glb",
            "start_position": [0.0, 0.0, 0.0],
            "start_rotation": [0.0, np.sin(np.pi / 4), 0.0, np.cos(np.pi / 4)],
            "goals": [{"position": [-3.0, 0.0, 0.0], "radius": 3.0}],
            "reference_path": [[0.0, 0.0, 0.0], [-3.0, 0.0, 0.0]],
            "instruction": {"instruction_text": "Walk on.", "language": language},
            "info": {"geodesic_distance": 3.0},
        }
        for number, language in enumerate(["en-US", "hi-IN"])
    ]
    file = folder / "val.json"
    file.write_text(json.dumps({"episodes": rows}), encoding="utf-8")
    return {"episodes": str(file), "scenes": str(folder)}


KINDS = ("habitat", "r2r_graph", "remote", "replay", "rooms")


@pytest.fixture(params=KINDS)
def make_world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Make]:
    """A maker of worlds of each kind."""

    def rooms() -> RoomsEnv:
        return RoomsEnv(ROOMS, SPEC)

    options: dict[str, Any] = {}
    if request.param == "rooms":
        options = {"episodes": 3, "levels": [0, 1], "seed": 3}
    elif request.param == "r2r_graph":
        options = graph_files(tmp_path)
    elif request.param == "habitat":
        monkeypatch.setitem(sys.modules, "habitat_sim", fake_habitat())
        options = habitat_files(tmp_path)
    elif request.param == "replay":
        collect(rooms, tmp_path, CollectOptions(epsilon=0.0, stops=1), policy=RandomAgent())
        options = {"rows": str(tmp_path / "walks.json")}
    else:
        with serve_world(rooms, token="open sesame") as url:
            given = {"url": url, "token": "open sesame"}
            yield lambda: open_world("remote", given, SPEC)
        return
    yield lambda: open_world(request.param, options, SPEC)
