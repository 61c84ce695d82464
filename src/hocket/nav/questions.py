"""Questions about the rooms with exact answers, in the files of two benchmarks.

    OUT/ScanQA_v1.0_val.json   rows of ScanQA; OUT/videos/SCENE.mp4, one turn on the spot in a room
    OUT/annotations.json       rows of EnvDrop as NaVILA has them; OUT/videos/WALK.mp4, a walk

What is asked for is in the film: a question names only landmarks that can be seen in it, and the
places have one room. `hocket eval` reads both as it reads the originals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hocket._errors import DataError, MachineError
from hocket.nav.collect import Row, write_rows
from hocket.nav.drawing import film
from hocket.nav.environment import NavAction, NavSpec, Picture, Point
from hocket.nav.rooms.episodes import RoomsEpisode, RoomsOptions, make_episode
from hocket.nav.rooms.instructions import name
from hocket.nav.rooms.plan import COLOURS, SHAPES, Landmark
from hocket.nav.rooms.world import RoomsEnv

SCAN_FILE, TOUR_FILE = "ScanQA_v1.0_val.json", "annotations.json"
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
# A film of a turn has this many frames: neighbours share most of what they show.
_TURN_STEPS = 2
_LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """What was written.

    Attributes:
        questions: rows of ScanQA.
        tours: rows of EnvDrop.
    """

    questions: int
    tours: int


def write_questions(
    rooms: RoomsOptions,
    spec: NavSpec,
    out: Path,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Asked:
    """Write questions about every place of a list, and its walks to describe.

    Args:
        rooms: which places; those of level 0 are asked about, walks of all levels described.
        spec: how the camera sees.
        out: folder.
        seed: of the questions.
        progress: called with (walks done, all).

    Raises:
        DataError: the folder holds questions already.
        MachineError: the folder cannot be written.
    """
    if (out / SCAN_FILE).exists():
        raise DataError(f"{out / SCAN_FILE} exists. Choose a new folder.")
    scans: list[Row] = []
    tours: list[Row] = []
    env = RoomsEnv(rooms, spec)
    try:
        (out / "videos").mkdir(parents=True, exist_ok=True)
        for index in range(rooms.episodes):
            episode = make_episode(rooms, index)
            rng = np.random.default_rng([seed, 3, index])
            film(_tour(env, episode), out / "videos" / f"{episode.id}.mp4")
            tours.append({"video_id": episode.id, "instruction": episode.instruction})
            if episode.info["level"] == 0:
                scans += _scan(env, episode, f"scene{index:04d}_00", out, rng)
            progress(index + 1, rooms.episodes)
        write_rows(out / TOUR_FILE, tours)
        write_rows(out / SCAN_FILE, scans)
    except OSError as error:
        raise MachineError(f"{out} cannot be written: {error}. Free space.") from error
    return Asked(len(scans), len(tours))


def _tour(env: RoomsEnv, episode: RoomsEpisode) -> list[Picture]:
    """Return what the expert sees on a walk."""
    frames, done = [env.reset(episode)], False
    while not done:
        action = env.expert_action()
        step = env.step(action)
        done = step.done
        if action is not NavAction.STOP:
            frames.append(step.picture)
    return frames


def _scan(
    env: RoomsEnv, episode: RoomsEpisode, scene: str, out: Path, rng: np.random.Generator
) -> list[Row]:
    env.reset(episode)
    frames: list[Picture] = []
    seen: dict[tuple[str, str], Landmark] = {}
    turns = round(360 / env.spec.turn_deg)
    for number in range(turns):
        for one in env.sightings():
            if one.share >= _LEAST_SHARE:
                seen.setdefault(one.landmark.pair, one.landmark)
        if number % _TURN_STEPS == 0:
            frames.append(env.look())
        env.step(NavAction.LEFT)
    film(frames, out / "videos" / f"{scene}.mp4")
    landmarks = list(seen.values())
    asked = questions_about(landmarks, env.position(), rng)
    return [
        {
            "scene_id": scene,
            "question_id": f"val-{scene}-{number}",
            "question": question,
            "answers": list(answers),
            "object_ids": [],
            "object_names": [],
        }
        for number, (question, answers) in enumerate(asked)
    ]


def questions_about(
    landmarks: Sequence[Landmark], at: Point, rng: np.random.Generator
) -> list[tuple[str, tuple[str, ...]]]:
    """Return questions about things in a room, each with every answer that is right.

    Args:
        landmarks: what can be seen.
        at: where it is seen from, (2,) or (3,).
        rng: which things are asked for.
    """
    found: list[tuple[str, tuple[str, ...]]] = []
    shapes = Counter(one.shape for one in landmarks)
    colours = Counter(one.colour for one in landmarks)
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    found.append((f"How many {_many(shape)} are there?", _count(shapes[shape])))
    colour = COLOURS[int(rng.integers(len(COLOURS)))]
    found.append((f"Is there anything {colour}?", ("yes",) if colours[colour] else ("no",)))
    single = [one for one in landmarks if shapes[one.shape] == 1]
    if single:
        one = single[int(rng.integers(len(single)))]
        found.append((f"What color is the {one.shape}?", (one.colour,)))
    single = [one for one in landmarks if colours[one.colour] == 1]
    if single:
        one = single[int(rng.integers(len(single)))]
        answers = (one.shape, name(one.pair), f"a {one.shape}")
        found.append((f"What is {one.colour}?", answers))
    if len(landmarks) > 2:
        one = landmarks[int(rng.integers(len(landmarks)))]
        others = [other for other in landmarks if other != one]
        near = min(others, key=lambda other: math.dist((other.x, other.y), (one.x, one.y)))
        found.append((f"What is closest to the {name(one.pair)}?", _named(near)))
    if landmarks:
        near = min(landmarks, key=lambda one: math.dist((one.x, one.y), (at[0], at[1])))
        found.append(("What is closest to you?", _named(near)))
    return found


def _named(one: Landmark) -> tuple[str, ...]:
    return name(one.pair), f"the {name(one.pair)}", f"a {name(one.pair)}"


def _many(shape: str) -> str:
    return "boxes" if shape == "box" else f"{shape}s"


def _count(number: int) -> tuple[str, ...]:
    return _NUMBERS[number], str(number)
