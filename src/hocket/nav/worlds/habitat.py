"""VLN-CE's episodes in habitat-sim: continuous walks through scanned houses.

Needs the user's own habitat-sim and the scenes' files, which are licensed. Only the parts of its
interface that have been the same since 0.1.7 are used: a `Simulator` with one agent and one colour
camera, and the path finder's shortest paths. Habitat's y is up; positions here are habitat's own
(x, y, z), and headings are 0 along -z, counter-clockwise from above.
"""

from __future__ import annotations

import gzip
import importlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hocket._errors import DataError, MachineError
from hocket.nav.environment import (
    NavAction,
    NavEpisode,
    NavSpec,
    NavStep,
    Picture,
    Point,
    Segments,
)
from hocket.nav.worlds import World, worlds

_CAMERA = "rgb"
_CAMERA_M = 1.25
_NAMES = {
    NavAction.FORWARD: "move_forward",
    NavAction.LEFT: "turn_left",
    NavAction.RIGHT: "turn_right",
}


@worlds.register
class Habitat(World):
    """VLN-CE's walks.

    Args:
        config: which files.
        spec: how the agent moves and sees.

    Raises:
        MachineError: habitat-sim is not installed.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            episodes: ``{split}.json.gz`` of VLN-CE, or the same unpacked.
            truth: ``{split}_gt.json.gz`` beside it: the oracle's positions, which VLN-CE measures
                nDTW by; empty takes the few points of ``reference_path``, whose nDTW and CLS
                compare with no published ones.
            scenes: folder that ``scene_id`` starts from.
            language: of the instructions that are walked; empty walks all.
        """

        episodes: str
        scenes: str
        truth: str = ""
        language: str = ""

    def __init__(self, config: Config, spec: NavSpec) -> None:
        try:
            self._sim: Any = importlib.import_module("habitat_sim")
        except ImportError as error:
            raise MachineError(
                "environment 'habitat': habitat_sim cannot be imported. No package index has it "
                "for every machine: install it with conda as github.com/facebookresearch/"
                "habitat-sim says, or walk 'rooms' or 'r2r_graph'."
            ) from error
        self._config, self._spec = config, spec
        self._open: Any = None
        self._scene = ""
        self._steps = 0
        self._picture: Picture = np.zeros((spec.height, spec.width, 3), np.uint8)

    @property
    def spec(self) -> NavSpec:
        """How the agent moves and sees."""
        return self._spec

    def episodes(self) -> Sequence[NavEpisode]:
        """Return every walk of the file.

        Raises:
            DataError: the file cannot be read.
        """
        file = Path(self._config.episodes)
        try:
            rows = _unpacked(file)["episodes"]
            truth = _unpacked(Path(self._config.truth)) if self._config.truth else {}
            found = [_episode(row, truth) for row in rows]
        except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
            raise DataError(
                f"{file}: no episodes of VLN-CE ({error!r}). Take val_unseen.json.gz of "
                f"R2R_VLNCE_v1-3_preprocessed or RxR_VLNCE_v0, and as 'truth' the file _gt beside."
            ) from error
        wanted = self._config.language
        return [one for one in found if not wanted or one.language == wanted]

    def reset(self, episode: NavEpisode) -> Picture:
        """Load the scene if it is another one, and put the agent at the start."""
        if episode.scene != self._scene:
            self.close()
            self._open, self._scene = self._simulator(episode.scene), episode.scene
        state = self._sim.AgentState()
        state.position = episode.start
        half = math.radians(episode.heading_deg) / 2
        # About the y axis, as numpy-quaternion and habitat's own states have it: w first.
        state.rotation = [0.0, math.sin(half), 0.0, math.cos(half)]
        self._open.initialize_agent(0, state)
        self._steps = 0
        self._picture = _colour(self._open.get_sensor_observations()[_CAMERA])
        return self._picture

    def step(self, action: NavAction) -> NavStep:
        """Act."""
        met = False
        if action is not NavAction.STOP:
            seen = self._open.step(_NAMES[action])
            met = bool(seen.get("collided", False))
            self._picture = _colour(seen[_CAMERA])
            self._steps += 1
        done = action is NavAction.STOP or self._steps >= self._spec.max_steps
        return NavStep(self._picture, met, done)

    def position(self) -> Point:
        """Return where the agent is."""
        return np.array(self._open.get_agent(0).get_state().position, np.float64)

    def distance(self, start: Point, goal: Point) -> float:
        """Return the geodesic distance; infinite off the mesh."""
        path = self._sim.ShortestPath()
        path.requested_start, path.requested_end = start, goal
        self._open.pathfinder.find_path(path)
        return float(path.geodesic_distance)

    def landmarks(self) -> Mapping[str, Point]:
        """Return nothing: the episodes name no things."""
        return {}

    def outline(self) -> Segments:
        """Return nothing: the scene is a mesh."""
        return np.zeros((0, 2, 2))

    def close(self) -> None:
        """Close the simulator."""
        if self._open is not None:
            self._open.close()
            self._open, self._scene = None, ""

    def _simulator(self, scene: str) -> Any:
        sim, spec = self._sim, self._spec
        world = sim.SimulatorConfiguration()
        world.scene_id = str(Path(self._config.scenes) / scene)
        world.allow_sliding = spec.sliding
        camera = sim.CameraSensorSpec()
        camera.uuid, camera.sensor_type = _CAMERA, sim.SensorType.COLOR
        camera.resolution, camera.hfov = [spec.height, spec.width], spec.hfov_deg
        camera.position = [0.0, _CAMERA_M, 0.0]
        agent = sim.agent.AgentConfiguration()
        agent.sensor_specifications = [camera]
        amounts = {"move_forward": spec.forward_m} | dict.fromkeys(
            ("turn_left", "turn_right"), spec.turn_deg
        )
        agent.action_space = {
            name: sim.agent.ActionSpec(name, sim.agent.ActuationSpec(amount=amount))
            for name, amount in amounts.items()
        }
        return sim.Simulator(sim.Configuration(world, [agent]))


def _unpacked(file: Path) -> Any:
    data = file.read_bytes()
    return json.loads(gzip.decompress(data) if file.suffix == ".gz" else data)


def _episode(row: Mapping[str, Any], truth: Mapping[str, Any]) -> NavEpisode:
    """Return a walk; its way is that of `truth` where there is one."""
    said = row["instruction"]
    x, y, z, w = row["start_rotation"]
    name = str(row["episode_id"])
    way = truth[name]["locations"] if truth else row.get("reference_path")
    goal = np.array(row["goals"][0]["position"], np.float64)
    return NavEpisode(
        id=name,
        scene=row["scene_id"],
        instruction=said["instruction_text"],
        language=str(said.get("language", "en"))[:2],
        start=np.array(row["start_position"], np.float64),
        heading_deg=math.degrees(2 * math.atan2(y, w)) % 360,
        goal=goal,
        reference=np.array(way or [goal], np.float64),
        info={"radius_m": row["goals"][0].get("radius"), "tilt": [x, z]},
    )


def _colour(picture: np.ndarray) -> Picture:
    """Return the colours of a picture that may have an alpha channel."""
    colours: Picture = np.asarray(picture)[..., :3].astype(np.uint8)
    return colours
