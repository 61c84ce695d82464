"""Rows to learn walking from: what an expert does, and what it would do from where others stray.

With probability ``epsilon`` a step is a random one and the label stays the expert's, which shows a
model the way back (DAgger, Ross et al. 2011, in one shot); with a policy it strays as the model
does, which is DAgger itself. The rows are NaVILA's, the frames lie on the disk once::

    OUT/walks.json   {"video_id": "7-2", "q": ..., "a": ..., "frames": ["frames/7/0.png", ...]}
    OUT/frames/7/0.png
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from hocket._errors import ConfigError, DataError, MachineError
from hocket.nav.agent import Agent, Turn
from hocket.nav.captions import NOTHING, aloud
from hocket.nav.codec import MOST_REPEATS, read_answer, sentence
from hocket.nav.environment import Decision, NavAction, Picture
from hocket.nav.rooms.episodes import RoomsEpisode, toward
from hocket.nav.rooms.instructions import name as name_of
from hocket.nav.rooms.plan import WALL_COLOURS
from hocket.nav.rooms.seeker import scene, seek
from hocket.nav.rooms.world import RoomsEnv

Row = dict[str, Any]
_Walking = Generator[Turn, Decision, list[Row]]
# Key of rows whose label is for another landmark than the walk's; no walk follows them.
RELABELLED = "relabelled"
_LEVELS_OF_ONE = (0, 1)
_FORWARD = Decision(NavAction.FORWARD)
# What the expert does as long as it does not see where to go.
SEARCH = Decision(NavAction.LEFT, MOST_REPEATS)
_MOVES = (NavAction.FORWARD, NavAction.LEFT, NavAction.RIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectOptions:
    """How walks become rows.

    Attributes:
        epsilon: share of decisions that are random.
        beta: share of the others that are the expert's where there is a policy.
        others: labels of other landmarks of the goal's room at each decision, levels 0 and 1.
        searching: share kept of their rows that say to go on turning: most landmarks are out of
            sight most of the time.
        stops: how often a row that says to stop is written.
        aloud: whether answers of levels 0 and 1 begin with what is in sight, as
            `hocket.nav.captions` says it, and labels are those of `hocket.nav.rooms.seeker`, who
            knows no more; the walks are the expert's in any case.
        batch: walks side by side where there is a policy.
        seed: of what is random.
    """

    epsilon: float = 0.15
    beta: float = 0.5
    others: int = 3
    searching: float = 0.25
    stops: int = 2
    aloud: bool = False
    batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: a share outside 0 to 1, or a count below its least.
        """
        for name, share in (
            ("epsilon", self.epsilon),
            ("beta", self.beta),
            ("searching", self.searching),
        ):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name}: {share:g} is not a share; expected 0 to 1.")
        if self.others < 0 or min(self.stops, self.batch) < 1:
            raise ConfigError(
                f"others is {self.others}, stops {self.stops}, batch {self.batch}; expected 0, 1 "
                f"and 1 or more."
            )


def collect(
    make_world: Callable[[], RoomsEnv],
    out: Path,
    options: CollectOptions,
    *,
    policy: Agent | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Walk every episode of a world and write rows and frames.

    Args:
        make_world: returns a world of its own for each walk that goes on at the same time.
        out: a new folder, or one without ``walks.json``.
        options: how.
        policy: whose mistakes are visited; None for random ones only.
        progress: called with (episodes done, all).

    Returns:
        How many rows were written.

    Raises:
        DataError: the folder holds walks already.
        MachineError: the folder cannot be written.
    """
    file = out / "walks.json"
    if file.exists():
        raise DataError(f"{file} exists; walks are written into a new folder. Choose another.")
    try:
        return _collect(make_world, out, options, policy, progress)
    except OSError as error:
        raise MachineError(f"{out} cannot be written: {error}. Free space.") from error


def _collect(
    make_world: Callable[[], RoomsEnv],
    out: Path,
    options: CollectOptions,
    policy: Agent | None,
    progress: Callable[[int, int], None],
) -> int:
    worlds = [make_world() for _ in range(options.batch if policy else 1)]
    episodes = worlds[0].episodes()
    waiting = enumerate(episodes)
    found: dict[int, list[Row]] = {}
    going: list[tuple[RoomsEnv, int, _Walking]] = []
    asked: dict[int, Turn] = {}

    def advance(number: int, walking: _Walking, said: Decision | None) -> bool:
        try:
            asked[number] = walking.send(said) if said else next(walking)
        except StopIteration as ended:
            found[number] = ended.value
            progress(len(found), len(episodes))
            return False
        return True

    while len(found) < len(episodes):
        free = [world for world in worlds if all(world is not one[0] for one in going)]
        for world in free:
            for number, episode in waiting:
                walking = _walk(world, episode, number, out, options, policy is not None)
                if advance(number, walking, None):
                    going.append((world, number, walking))
                    break
        if policy is None or not going:
            continue
        answers = policy.answer([asked[number] for _, number, _ in going])
        said = [read_answer(one) or _FORWARD for one in answers]
        going = [
            one for one, word in zip(going, said, strict=True) if advance(one[1], one[2], word)
        ]
    rows = [row for number in sorted(found) for row in found[number]]
    write_rows(out / "walks.json", rows)
    return len(rows)


def write_rows(file: Path, rows: Sequence[Row]) -> None:
    """Write rows as JSON, one a line; the file is there whole or not at all."""
    partial = file.with_suffix(".part")
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    partial.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    partial.replace(file)


def write_frame(file: Path, picture: Picture) -> None:
    """Write a frame as PNG: lossless, since a pixel of a far landmark is all there is of it."""
    PIL.Image.fromarray(picture).save(file, compress_level=1)


def _walk(
    env: RoomsEnv,
    episode: RoomsEpisode,
    number: int,
    out: Path,
    options: CollectOptions,
    has_policy: bool,
) -> _Walking:
    """Yield what a policy is to be asked, take its decision, and return the rows of one walk."""
    rng = np.random.default_rng([options.seed, number])
    folder = out / "frames" / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    frames = [env.reset(episode)]
    write_frame(folder / "0.png", frames[0])
    rows: list[Row] = []
    done, asked = False, 0
    while not done:
        label = env.expert_decision()
        seen = [f"frames/{number}/{at}.png" for at in range(len(frames))]
        rows += _rows(env, episode, label, f"{number}-{asked}", seen, options, rng)
        taken = _strayed(label, options, rng)
        if taken is None:
            taken = label
            if has_policy and rng.random() >= options.beta:
                said = yield Turn(episode.id, episode.instruction, frames, asked)
                # An early stop is a mistake whose label is written; the walk goes on.
                taken = label if said.action is NavAction.STOP else said
        asked += 1
        for _ in range(taken.repeats):
            step = env.step(taken.action)
            done = step.done
            if done:
                break
            write_frame(folder / f"{len(frames)}.png", step.picture)
            frames.append(step.picture)
    return rows


def _rows(
    env: RoomsEnv,
    episode: RoomsEpisode,
    label: Decision,
    name: str,
    seen: Sequence[str],
    options: CollectOptions,
    rng: np.random.Generator,
) -> list[Row]:
    """Return the rows of one decision: the walk's own, and those for other landmarks."""
    labels = [(episode, label), *_others(env, episode, options.others, rng)]
    rows: list[Row] = []
    for goal, (asked, answer) in enumerate(labels):
        said = sentence(answer)
        if options.aloud and episode.info["level"] in _LEVELS_OF_ONE:
            words, answer = _aloud(env, asked, rng, first=len(seen) == 1)
            said = f"{words} {sentence(answer)}"
        if goal and answer == SEARCH and rng.random() >= options.searching:
            continue
        row: Row = {
            "video_id": name,
            "q": asked.instruction,
            "a": said,
            "frames": list(seen),
        }
        if goal:
            row |= {"video_id": f"{name}-{goal}", RELABELLED: True}
        rows += [row] * (options.stops if answer.action is NavAction.STOP else 1)
    return rows


def _aloud(
    env: RoomsEnv, episode: RoomsEpisode, rng: np.random.Generator, *, first: bool
) -> tuple[str, Decision]:
    """Return what is said of what is in sight, and what somebody does who knows no more."""
    start = episode.plan.room_at(*map(float, episode.start[:2]))
    began = NOTHING if first else WALL_COLOURS[episode.plan.paint[start]]
    behind = episode.info["level"] == 1
    seen, goal = scene(env), name_of(episode.targets[-1].pair)
    step = seek(env, seen, goal, began=began, behind_door=behind, rng=rng)
    return aloud(seen, goal, began=began, behind_door=behind), step


def _others(
    env: RoomsEnv, episode: RoomsEpisode, count: int, rng: np.random.Generator
) -> Iterator[tuple[RoomsEpisode, Decision]]:
    """Yield what the expert would do from here if another landmark had been asked for."""
    if not count or episode.info["level"] not in _LEVELS_OF_ONE:
        return
    goal = episode.targets[-1]
    there = [one for one in episode.plan.landmarks if one.room == goal.room and one != goal]
    for at in rng.permutation(len(there))[:count]:
        other = toward(episode, there[int(at)], int(rng.integers(1000)))
        yield other, env.expert_decision(other)


def _strayed(label: Decision, options: CollectOptions, rng: np.random.Generator) -> Decision | None:
    """Return a random decision, the label at the goal, or None: whoever leads decides."""
    # At the goal nobody strays: the walk would never end.
    if label.action is NavAction.STOP:
        return label
    if rng.random() < options.epsilon:
        return Decision(_MOVES[int(rng.integers(3))], 1 + int(rng.integers(MOST_REPEATS)))
    return None
