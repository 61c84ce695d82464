r"""Pictures with what is in them, exactly: words are learned before walking, as in LLaVA.

Two files about the same pictures, of places where nobody has walked::

    OUT/sights.json  {"id": "3", "image": "sights/3.png", "conversations": [
                        {"from": "human", "value": "<image>\nWhat do you see?"},
                        {"from": "gpt", "value": "l45 - - - l30 red ball 3 l15 - - - ..."}]}
    OUT/goals.json   {"id": "3", "image": "sights/3.png", "conversations": [
                        {"from": "human", "value": "<image>\ngo to the red ball."},
                        {"from": "gpt", "value": "The next action is turn left 30 degree."},
                        {"from": "human", "value": "find the blue cone."}, ...]}

Captions are those of `hocket.nav.captions`. The first answer about a goal says what is there before
it says what to do (``aloud``): the name is then looked up in words. Goals ask for every landmark of
the room in turn, so that the tokens of a picture are paid for once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hocket._errors import ConfigError, DataError, MachineError
from hocket.nav.captions import caption, in_sight
from hocket.nav.codec import sentence
from hocket.nav.collect import SEARCH, Row, write_frame, write_rows
from hocket.nav.environment import NavSpec, Point
from hocket.nav.rooms.episodes import RoomsEpisode, RoomsOptions, make_episode, toward
from hocket.nav.rooms.view import Sighting
from hocket.nav.rooms.world import RoomsEnv

QUESTION = "What do you see?"
_STEP_DEG = 15
_MOST = 3
_TRIES = 60
_PLACES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SightOptions:
    """Which pictures.

    Attributes:
        pictures: how many; nothing, one, two and three landmarks in equal shares.
        goals: landmarks asked for in each.
        per_place: pictures of each place.
        aloud: whether the first answer about a goal begins with the caption.
        seed: of everything random.
    """

    pictures: int = 8000
    goals: int = 4
    per_place: int = 8
    aloud: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            ConfigError: one of them is below one.
        """
        if min(self.pictures, self.goals, self.per_place) < 1:
            raise ConfigError("a set of sights needs a picture, a goal and a place.")


def write_sights(
    rooms: RoomsOptions,
    spec: NavSpec,
    out: Path,
    options: SightOptions,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write pictures from places of a split, what is in them, and what to do there.

    Args:
        rooms: which places: those of its walks.
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
        sights: list[Row] = []
        goals: list[Row] = []
        place = 0
        while len(sights) < options.pictures:
            rng = np.random.default_rng([options.seed, _PLACES, place])
            episode, place = make_episode(rooms, place), place + 1
            env = RoomsEnv(rooms, spec)
            env.reset(episode)
            for _ in range(min(options.per_place, options.pictures - len(sights))):
                number = len(sights)
                seen = _stand(env, episode, number % (_MOST + 1), rng)
                path = f"sights/{number}.png"
                write_frame(out / path, env.look())
                sights.append(_row(number, path, [(QUESTION, caption(seen))]))
                turns = _goals(env, episode, options.goals, rng)
                if options.aloud and turns:
                    turns[0] = (turns[0][0], f"{caption(seen)} {turns[0][1]}")
                # A door is no room: whoever stands in it has no landmarks to go to.
                goals += [_row(number, path, turns)] if turns else []
            progress(len(sights), options.pictures)
        write_rows(out / "goals.json", goals)
        write_rows(file, sights)
    except OSError as error:
        raise MachineError(f"{out} cannot be written: {error}. Free space.") from error
    return len(sights)


def _stand(
    env: RoomsEnv, episode: RoomsEpisode, count: int, rng: np.random.Generator
) -> list[Sighting]:
    """Stand where so many landmarks are in sight, or nearly so; return them."""
    best: tuple[int, Point, float, list[Sighting]] | None = None
    tries = 0
    while best is None or (best[0] and tries < _TRIES):
        at = rng.uniform(0, 1, 2) * episode.plan.size_m
        if not env.is_free(at):
            continue
        heading = float(rng.integers(360 // _STEP_DEG) * _STEP_DEG)
        env.stand(at, heading)
        seen = in_sight(env)
        off = abs(len(seen) - count)
        if best is None or off < best[0]:
            best = off, at, heading, seen
        tries += 1
    env.stand(best[1], best[2])
    return best[3]


def _goals(
    env: RoomsEnv, episode: RoomsEpisode, count: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Return what an expert would do here for some landmarks of this room."""
    at = env.position()
    room = episode.plan.room_at(float(at[0]), float(at[1]))
    there = [one for one in episode.plan.landmarks if one.room == room]
    turns: list[tuple[str, str]] = []
    searching = 0
    for index in rng.permutation(len(there))[:count]:
        goal = toward(episode, there[int(index)], int(rng.integers(1000)), level=0)
        decision = env.expert_decision(goal)
        searching += decision == SEARCH
        # Most landmarks are out of sight most of the time: one of them says it all.
        if decision != SEARCH or searching == 1:
            turns.append((goal.instruction, sentence(decision)))
    return turns


def _row(number: int, path: str, turns: Sequence[tuple[str, str]]) -> Row:
    conversations = []
    for index, (question, answer) in enumerate(turns):
        mark = "" if index else "<image>\n"
        conversations += [
            {"from": "human", "value": mark + question},
            {"from": "gpt", "value": answer},
        ]
    return {"id": str(number), "image": path, "conversations": conversations}
