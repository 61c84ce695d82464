"""Which walks there are: places, starts, goals and instructions, each a pure function of a seed.

Splits: ``train``; ``val_seen`` has other places with the pairs of colour and shape of training;
``val_unseen`` asks for pairs that training never shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hocket._errors import ConfigError
from hocket.nav.environment import NavEpisode
from hocket.nav.rooms.instructions import instruct, languages
from hocket.nav.rooms.plan import (
    MORE_COLOURS,
    WALL_COLOURS,
    Landmark,
    Plan,
    all_pairs,
    make_plan,
)
from hocket.nav.rooms.ways import Ways
from hocket.nav.score import path_length

# One pair of every colour: each colour and each shape is trained, these together never.
HELD_OUT = (
    ("red", "cone"),
    ("green", "pillar"),
    ("blue", "ball"),
    ("yellow", "box"),
    ("purple", "ball"),
    ("orange", "cone"),
)
_LEAST_WALK_M = 1.5
_REFERENCE_STEP_M = 0.25
_LANDMARKS = {0: 4, 1: 3, 2: 4, 3: 3}


class Split(StrEnum):
    """Which part of the worlds."""

    TRAIN = "train"
    VAL_SEEN = "val_seen"
    VAL_UNSEEN = "val_unseen"


@dataclass(frozen=True, slots=True)
class RoomsOptions:
    """Which walks a list has.

    Attributes:
        episodes: how many.
        levels: of their instructions, in turn.
        split: ``train``, ``val_seen`` or ``val_unseen``.
        languages: of their instructions, in turn.
        distinct_colours: whether no colour is twice in a room.
        more_colours: whether things of the split train also come in `MORE_COLOURS`.
        usual_colours: whether they come in `COLOURS`.
        side_m: width and depth of a place of one room, in metres.
        seed: places of another seed are other places.
    """

    episodes: int = 100
    levels: tuple[int, ...] = (0,)
    split: Split = Split.TRAIN
    languages: tuple[str, ...] = ("en",)
    distinct_colours: bool = False
    more_colours: bool = False
    usual_colours: bool = True
    side_m: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: a level, a language or a size that does not exist.
        """
        for level in self.levels:
            if level not in _LANDMARKS:
                raise ConfigError(f"levels: {level} is none; there are 0, 1, 2 and 3.")
        for language in self.languages:
            if language not in languages():
                known = ", ".join(languages())
                raise ConfigError(f"languages: no instructions in {language!r}; there are {known}.")
        if not self.levels or not self.languages or self.episodes < 1:
            raise ConfigError("a list of walks needs an episode, a level and a language.")
        if not self.usual_colours and not (self.more_colours and self.split is Split.TRAIN):
            raise ConfigError(
                "usual_colours: without them there are no colours; more_colours of the split train "
                "are others."
            )
        if not 4.0 <= self.side_m <= 20.0:
            raise ConfigError(f"side_m: {self.side_m:g} is not between 4 and 20 metres.")


@dataclass(frozen=True)
class RoomsEpisode(NavEpisode):
    """A walk with its place.

    Attributes:
        plan: the place.
        targets: the landmarks to visit, the goal last.
    """

    plan: Plan = field(kw_only=True, repr=False)
    targets: tuple[Landmark, ...] = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class _Walk:
    """A start, a heading and what to visit."""

    plan: Plan
    ways: Ways
    start: NDArray[np.float64]
    heading_deg: float
    targets: tuple[Landmark, ...]


def make_episode(options: RoomsOptions, index: int) -> RoomsEpisode:
    """Return one walk of a list; the same for the same options and index."""
    level = options.levels[index % len(options.levels)]
    language = options.languages[index % len(options.languages)]
    salt = tuple(Split).index(options.split)
    for attempt in range(1000):
        rng = np.random.default_rng([options.seed, salt, index, attempt])
        walk = _walk(_plan(options, level, rng), level, options.split, rng)
        if walk is not None:
            name = f"rooms-{options.split}-{options.seed}-{index}"
            info = {"level": level, "split": str(options.split), "group": f"level {level}"}
            return _episode(walk, name, language, info)
    raise ConfigError(f"no walk of level {level} fits into a place of {options.side_m:g} m.")


def toward(
    episode: RoomsEpisode, landmark: Landmark, paraphrase: int, *, level: int | None = None
) -> RoomsEpisode:
    """Return the walk that asks for another landmark of the goal's room; levels 0 and 1.

    Its reference and length stay those of the first: it is for an expert's advice, not for scores.

    Args:
        episode: a walk.
        landmark: where it is to end.
        paraphrase: any number; which wording.
        level: of the instruction; None for the walk's own.
    """
    plan = episode.plan
    words = instruct(
        int(episode.info["level"]) if level is None else level,
        [landmark.pair],
        wall=WALL_COLOURS[plan.paint[landmark.room]],
        side="left",
        paraphrase=paraphrase,
        language=episode.language,
    )
    goal = np.array([landmark.x, landmark.y, 0.0])
    return replace(episode, instruction=words, goal=goal, targets=(landmark,))


def _plan(options: RoomsOptions, level: int, rng: np.random.Generator) -> Plan:
    held = set(HELD_OUT)
    pairs = all_pairs()
    if options.split is not Split.VAL_UNSEEN:
        pairs = tuple(pair for pair in pairs if pair not in held)
    if options.more_colours and options.split is Split.TRAIN:
        pairs = all_pairs(MORE_COLOURS) + (pairs if options.usual_colours else ())
    return make_plan(
        int(rng.integers(2**31)),
        rooms={0: 1, 1: 2, 2: 1, 3: 3}[level],
        side_m=options.side_m,
        landmarks=_LANDMARKS[level],
        pairs=pairs,
        distinct=options.distinct_colours,
    )


def _walk(plan: Plan, level: int, split: Split, rng: np.random.Generator) -> _Walk | None:
    """Return a walk; None where the place has none."""
    targets = _targets(plan, level, split, rng)
    if targets is None:
        return None
    home = targets[0].room if level != 1 else _neighbour(plan, targets[0].room)
    ways = Ways(plan)
    goals = [np.array([one.x, one.y]) for one in targets]
    for _ in range(50):
        point = rng.uniform(0, 1, 2) * plan.size_m
        if plan.room_at(*map(float, point)) != home or ways.blocked(point[None])[0]:
            continue
        far = ways.distance(point, goals[0])
        if np.isfinite(far) and far >= _LEAST_WALK_M:
            return _Walk(plan, ways, point, float(rng.integers(24) * 15), targets)
    return None


def _targets(
    plan: Plan, level: int, split: Split, rng: np.random.Generator
) -> tuple[Landmark, ...] | None:
    order = [plan.landmarks[int(at)] for at in rng.permutation(len(plan.landmarks))]
    if split is Split.VAL_UNSEEN:
        order.sort(key=lambda one: one.pair not in HELD_OUT)
        if not order or order[0].pair not in HELD_OUT:
            return None
    if not order or (level in (1, 3) and not plan.doors):
        return None
    goal = order[0]
    if level in (0, 1):
        return (goal,)
    if level == 2:
        others = [one for one in order if one.room == goal.room and one is not goal]
    else:
        others = [one for one in order if one.room in _next_to(plan, goal.room)]
    return (others[0], goal) if others else None


def _next_to(plan: Plan, room: int) -> list[int]:
    return sorted(
        {other for door in plan.doors for other in door.rooms if room in door.rooms} - {room}
    )


def _neighbour(plan: Plan, room: int) -> int:
    return _next_to(plan, room)[0]


def _episode(walk: _Walk, name: str, language: str, info: Mapping[str, object]) -> RoomsEpisode:
    plan, targets, level = walk.plan, walk.targets, info["level"]
    stops = [walk.start, *(np.array([one.x, one.y]) for one in targets)]
    legs = [walk.ways.path(one, other) for one, other in pairwise(stops)]
    flat = _dense(np.concatenate([legs[0], *(leg[1:] for leg in legs[1:])]))
    room = targets[-1].room if level == 1 else plan.room_at(*map(float, walk.start))
    return RoomsEpisode(
        id=name,
        scene=f"plan-{plan.seed}",
        instruction=instruct(
            int(str(level)),
            [one.pair for one in targets],
            wall=WALL_COLOURS[plan.paint[room]],
            side=_side(legs),
            paraphrase=plan.seed,
            language=language,
        ),
        language=language,
        start=np.append(walk.start, 0.0),
        heading_deg=walk.heading_deg,
        goal=np.array([targets[-1].x, targets[-1].y, 0.0]),
        reference=np.pad(flat, ((0, 0), (0, 1))),
        shortest_m=sum(path_length(leg) for leg in legs),
        info={**info, "pair": list(targets[-1].pair)},
        plan=plan,
        targets=targets,
    )


def _side(legs: list[NDArray[np.float64]]) -> str:
    """Return the side that the first landmark is passed on: the way bends round it."""
    way = legs[0][-1] - legs[0][-2]
    onward = legs[-1][1] - legs[-1][0]
    return "left" if way[0] * onward[1] - way[1] * onward[0] <= 0 else "right"


def _dense(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a way with a point every step, as an agent would leave them."""
    along = np.concatenate([[0.0], np.linalg.norm(np.diff(corners, axis=0), axis=1).cumsum()])
    at = np.linspace(0.0, along[-1], max(2, round(along[-1] / _REFERENCE_STEP_M) + 1))
    return np.stack([np.interp(at, along, corners[:, axis]) for axis in (0, 1)], axis=1)
