r"""Pictures with what is in them, exactly: words are learned before walking, as in LLaVA.

Files about the same pictures, of places where nobody has walked::

    OUT/sights.json  {"id": "3", "image": "sights/3.png", "conversations": [
                        {"from": "human", "value": "<image>\nLook for the red ball."},
                        {"from": "gpt", "value": "in pink , - - - - leftmost - red same ..."}]}
    OUT/shapes.json  the same of places whose things come in colours that have every shape
    OUT/names.json   {"id": "1", "image": "sights/1.png", "conversations": [
                        {"from": "human", "value": "<image>\nWhat is leftmost?"},
                        {"from": "gpt", "value": "teal cone 2"}, ...]}
    OUT/goals.json   {"id": "3", "images": ["sights/1.png", "sights/3.png"], "conversations": [
                        {"from": "human", "value": "<image>\n<image>\ngo to the red ball."},
                        {"from": "gpt", "value": "The next action is turn left 30 degree."}]}

    OUT/asked.json   the same of the other places, whose things come in the colours of walks, too

Captions are those of `hocket.nav.captions`, steps those of `hocket.nav.rooms.seeker`. As on a walk
the first picture of a row of ``goals.json`` is from where the walk began, black at its beginning;
its answer says what is there before it says what to do (``aloud``).

Places whose things come in colours that have every shape come first: a colour is seen long before a
shape, and as long as it is all that is seen, "red" stands for what red things of training are, no
cones. In their short names every word counts. Of the landmarks that are asked for some are in sight
but for their shape, or but for their colour, so that neither alone finds one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hocket._errors import ConfigError, DataError, MachineError
from hocket.nav.captions import NOTHING, SIDES, Scene, aloud, caption
from hocket.nav.codec import sentence
from hocket.nav.collect import Row, write_frame, write_rows
from hocket.nav.drills import drill_rows
from hocket.nav.environment import NavSpec, Point
from hocket.nav.rooms.episodes import (
    HELD_OUT,
    RoomsEpisode,
    RoomsOptions,
    make_episode,
    toward,
)
from hocket.nav.rooms.instructions import name
from hocket.nav.rooms.plan import COLOURS, MORE_COLOURS, SHAPES, WALL_COLOURS, Landmark
from hocket.nav.rooms.seeker import scene, seek
from hocket.nav.rooms.world import RoomsEnv

QUESTION = "Look for the {}."
NAMING = "What is {}?"
DOOR = "Where is the door?"
BLACK = "black.png"
# The last one stands for all: who finds it finds a whole set.
_FILES = ("goals", "asked", "shapes", "names", "sights")
_STEP_DEG = 15
_MOST = 3
_TRIES = 20
_PLACES = 2
# Of so many places in turn this many have things in `MORE_COLOURS` only.
_TURN, _PLAIN = 5, 3
# Of the pictures: beside a landmark, and before a door where there is one; others are anywhere.
_NEAR_SHARE, _DOOR_SHARE = 0.3, 0.25
_NEAR_M = (0.45, 1.4)
_DOOR_M = (0.2, 2.2)
_AWRY_DEG = 40.0
# Of the rows: at the beginning of a walk, and with a goal behind the door.
_FIRST_SHARE, _BEHIND_SHARE, _SEEN_SHARE = 0.25, 0.7, 0.7
# Of those in sight that are asked for: another shape in their colour, or another colour of theirs.
_DECOY_SHARE = 0.45
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SightOptions:
    """Which pictures.

    Attributes:
        pictures: how many.
        per_place: pictures of each place.
        drills: made-up scenes in words, each asked about several times.
        aloud: whether the first answer about a goal begins with the caption.
        seed: of everything random.
    """

    pictures: int = 8000
    per_place: int = 8
    drills: int = 20000
    aloud: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            ConfigError: one of them is below its least.
        """
        if min(self.pictures, self.per_place) < 1 or self.drills < 0:
            raise ConfigError("a set of sights needs a picture and a place.")


@dataclass(frozen=True, slots=True)
class _Sight:
    """A picture of a place."""

    number: int
    at: Point
    heading_deg: float
    room: int
    scene: Scene

    @property
    def path(self) -> str:
        return f"sights/{self.number}.png"


def write_sights(
    rooms: RoomsOptions,
    spec: NavSpec,
    out: Path,
    options: SightOptions,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write pictures from places of a split, what is in them, what to do there, and drills.

    Args:
        rooms: which places: those of its walks, with landmarks in more colours.
        spec: how the camera sees.
        out: folder.
        options: which pictures.
        progress: called with (pictures done, all).

    Returns:
        How many pictures were written.

    Raises:
        DataError: the folder holds sights already.
        MachineError: the folder cannot be written.
    """
    file = out / "sights.json"
    if file.exists():
        raise DataError(f"{file} exists; sights are written into a new folder. Choose another.")
    try:
        (out / "sights").mkdir(parents=True, exist_ok=True)
        write_frame(out / BLACK, np.zeros((spec.height, spec.width, 3), np.uint8))
        rows: dict[str, list[Row]] = {name: [] for name in _FILES}
        done = 0
        env = RoomsEnv(rooms, spec)
        place = 0
        while done < options.pictures:
            rng = np.random.default_rng([options.seed, _PLACES, place])
            plain = place * _PLAIN % _TURN < _PLAIN
            places = replace(rooms, more_colours=True, usual_colours=not plain)
            episode = make_episode(places, place)
            place += 1
            env.reset(episode)
            count = min(options.per_place, options.pictures - done)
            there = [_sight(env, episode, done + one, out, rng) for one in range(count)]
            done += count
            looks, goals = ("shapes", "goals") if plain else ("sights", "asked")
            rows[looks] += [_look(episode, one, rng) for one in there]
            rows["names"] += [_naming(one, rng) for one in there if plain]
            rows[goals] += [_goal(env, episode, one, there, options, rng) for one in there]
            progress(done, options.pictures)
        write_rows(out / "drills.json", drill_rows(options.drills, options.seed))
        for name in _FILES:
            write_rows(out / f"{name}.json", rows[name])
    except OSError as error:
        raise MachineError(f"{out} cannot be written: {error}. Free space.") from error
    return done


def _sight(
    env: RoomsEnv, episode: RoomsEpisode, number: int, out: Path, rng: np.random.Generator
) -> _Sight:
    """Stand somewhere, and keep what is seen."""
    chance = rng.random()
    if chance < _NEAR_SHARE:
        things = episode.plan.landmarks
        one = things[int(rng.integers(len(things)))]
        _stand_before(env, np.array([one.x, one.y]), _NEAR_M, rng)
    elif chance < _NEAR_SHARE + _DOOR_SHARE and episode.plan.doors:
        door = episode.plan.doors[0]
        _stand_before(env, np.array([door.x, door.y]), _DOOR_M, rng)
    else:
        _stand(env, number % (_MOST + 1), rng)
    at = env.position()
    room = episode.plan.room_at(float(at[0]), float(at[1]))
    sight = _Sight(number, at, env.heading_deg, room, scene(env))
    write_frame(out / sight.path, env.look())
    return sight


def _stand_before(
    env: RoomsEnv, thing: Point, far_m: tuple[float, float], rng: np.random.Generator
) -> None:
    """Stand so far from a thing, looking at it or a little past it."""
    for _ in range(_TRIES):
        way = rng.uniform(0, 2 * math.pi)
        at = thing - rng.uniform(*far_m) * np.array([math.cos(way), math.sin(way)])
        if env.is_free(at):
            awry = rng.uniform(-_AWRY_DEG, _AWRY_DEG)
            env.stand(at, round((math.degrees(way) + awry) / _STEP_DEG) * _STEP_DEG % 360.0)
            return
    _stand(env, 1, rng)


def _stand(env: RoomsEnv, count: int, rng: np.random.Generator) -> None:
    """Stand where so many landmarks are in sight, or nearly so."""
    best: tuple[int, Point, float] | None = None
    tries = 0
    while best is None or (best[0] and tries < _TRIES):
        at = rng.uniform(0, 1, 2) * env.plan.size_m
        if not env.is_free(at):
            continue
        heading = float(rng.integers(360 // _STEP_DEG) * _STEP_DEG)
        env.stand(at, heading)
        off = abs(len(scene(env).things) - count)
        if best is None or off < best[0]:
            best = off, at, heading
        tries += 1
    env.stand(best[1], best[2])


def _naming(sight: _Sight, rng: np.random.Generator) -> Row:
    """Return a row that names what stands in some directions, one of them empty, and the door."""
    there = {place.turn_deg: f"{key} {place.steps}" for key, place in sight.scene.things.items()}
    empty = [turn for turn in SIDES if turn not in there]
    turns = [*there, *(empty and [empty[int(rng.integers(len(empty)))]])]
    asked = [(NAMING.format(SIDES[turn]), there.get(turn, "- - -")) for turn in turns]
    asked.append((DOOR, str(sight.scene.door or "- -")))
    talk: list[dict[str, str]] = []
    for at in rng.permutation(len(asked)):
        question, answer = asked[int(at)]
        talk.append({"from": "human", "value": ("" if talk else "<image>\n") + question})
        talk.append({"from": "gpt", "value": answer})
    return {"id": str(sight.number), "images": [sight.path], "conversations": talk}


def _look(episode: RoomsEpisode, sight: _Sight, rng: np.random.Generator) -> Row:
    """Return a row of what is in sight, marked for a landmark of the place."""
    goal = name(_asked(episode.plan.landmarks, sight, rng).pair)
    return _row(sight.number, [sight.path], QUESTION.format(goal), caption(sight.scene, goal))


def _goal(
    env: RoomsEnv,
    episode: RoomsEpisode,
    sight: _Sight,
    others: Sequence[_Sight],
    options: SightOptions,
    rng: np.random.Generator,
) -> Row:
    """Return a row of what to do here for a landmark, whether it is in sight or not."""
    plan = episode.plan
    behind = bool(plan.doors) and rng.random() < _BEHIND_SHARE
    home = int(rng.integers(len(plan.paint))) if behind else sight.room
    before = [one for one in others if one.room == home and one is not sight]
    first = not before or rng.random() < _FIRST_SHARE
    if first:
        home = sight.room
    began = NOTHING if first else WALL_COLOURS[plan.paint[home]]
    shown = BLACK if first else before[int(rng.integers(len(before)))].path
    things = [one for one in plan.landmarks if (one.room != home) == behind]
    goal = _asked(things or plan.landmarks, sight, rng)
    words = toward(episode, goal, int(rng.integers(1000)), level=int(behind)).instruction
    key = name(goal.pair)
    env.stand(sight.at, sight.heading_deg)
    answer = sentence(seek(env, sight.scene, key, began=began, behind_door=behind, rng=rng))
    if options.aloud:
        answer = f"{aloud(sight.scene, key, began=began, behind_door=behind)} {answer}"
    return _row(sight.number, [shown, sight.path], words, answer)


def _asked(things: Sequence[Landmark], sight: _Sight, rng: np.random.Generator) -> Landmark:
    """Return a landmark to ask for, mostly one that is in sight, or is but for its shape."""
    seen = [one for one in things if name(one.pair) in sight.scene.things]
    chosen = seen if seen and rng.random() < _SEEN_SHARE else things
    one = chosen[int(rng.integers(len(chosen)))]
    if chosen is not seen or rng.random() >= _DECOY_SHARE:
        return one
    if rng.random() < _HALF:
        decoys = [replace(one, shape=shape) for shape in SHAPES if shape != one.shape]
    else:
        colours = (*COLOURS, *MORE_COLOURS)
        decoys = [replace(one, colour=colour) for colour in colours if colour != one.colour]
    decoys = [other for other in decoys if other.pair not in HELD_OUT]
    return decoys[int(rng.integers(len(decoys)))]


def _row(number: int, paths: Sequence[str], question: str, answer: str) -> Row:
    talk = [
        {"from": "human", "value": "<image>\n" * len(paths) + question},
        {"from": "gpt", "value": answer},
    ]
    return {"id": str(number), "images": list(paths), "conversations": talk}
