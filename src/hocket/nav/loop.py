"""The closed loop: ask, act, look, until the agent stops or has used up its steps.

Several worlds stand side by side; whoever has nothing left to do is asked, all of them in one call.
What an answer asked for is done before the next question, and what is left of it when a walk ends
is dropped. The outcome of a walk does not depend on what walks beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from hocket.nav.agent import Agent, Turn
from hocket.nav.codec import Grammar, read_answer
from hocket.nav.environment import Decision, NavAction, NavEnv, NavEpisode, Picture, Point
from hocket.nav.score import Profile, Walk, score_walk

_INVALID_IN_A_ROW = 3
_FORWARD = Decision(NavAction.FORWARD)


class OnInvalid(StrEnum):
    """What is done after an answer that nobody can read.

    ``repeat`` does the last decision again (and goes forward where there is none), ``forward25``
    takes one step forward, ``stop`` ends the walk where it is.
    """

    REPEAT = "repeat"
    FORWARD25 = "forward25"
    STOP = "stop"


class Ending(StrEnum):
    """Why a walk ended."""

    STOPPED = "stopped"
    LIMIT = "limit"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """How the loop works.

    Attributes:
        batch: walks side by side.
        grammar: how answers are read.
        on_invalid: what an answer does that cannot be read; three in a row end the walk.
    """

    batch: int = 16
    grammar: Grammar = Grammar.NAVILA
    on_invalid: OnInvalid = OnInvalid.FORWARD25


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A walk that is over.

    Attributes:
        episode: which.
        scores: of `hocket.nav.score.score_walk`.
        path: where the agent was, (P, 3) in metres.
        answers: what it said.
        ending: why it ended.
        reached: the landmark that it stopped at; empty for none.
        frames: what it saw, where frames are kept.
        outline: the place from above, (S, 2, 2).
        landmarks: of the place.
    """

    episode: NavEpisode
    scores: Mapping[str, float]
    path: np.ndarray
    answers: tuple[str, ...]
    ending: Ending
    reached: str
    frames: Sequence[Picture] = field(repr=False)
    outline: np.ndarray = field(repr=False)
    landmarks: Mapping[str, Point] = field(repr=False)


def walk_all(
    make_world: Callable[[], NavEnv],
    episodes: Sequence[NavEpisode],
    agent: Agent,
    profile: Profile,
    options: LoopOptions,
) -> Iterator[Outcome]:
    """Yield the outcome of each walk as soon as it is over.

    Args:
        make_world: returns a world of its own for each walk that goes on at the same time.
        episodes: which walks.
        agent: who decides.
        profile: how they are scored.
        options: how many go on together, and what becomes of strange answers.
    """
    waiting = iter(episodes)
    worlds = [make_world() for _ in range(min(options.batch, len(episodes)))]
    try:
        going = [
            _Going(world, episode, profile, options)
            for world, episode in zip(worlds, waiting, strict=False)
        ]
        while going:
            answers = agent.answer([one.turn() for one in going])
            left = []
            for one, answer in zip(going, answers, strict=True):
                outcome = one.act(answer)
                if outcome is None:
                    left.append(one)
                    continue
                yield outcome
                following = next(waiting, None)
                if following is not None:
                    left.append(_Going(one.world, following, profile, options))
            going = left
    finally:
        for world in worlds:
            world.close()


class _Going:
    """One walk under way."""

    def __init__(
        self, world: NavEnv, episode: NavEpisode, profile: Profile, options: LoopOptions
    ) -> None:
        self.world = world
        self._episode, self._profile, self._options = episode, profile, options
        self._frames = [world.reset(episode)]
        self._path = [world.position()]
        self._answers: list[str] = []
        self._collisions = self._invalid = self._in_a_row = 0
        self._last = _FORWARD

    def turn(self) -> Turn:
        """Return what the agent may know now."""
        episode = self._episode
        return Turn(episode.id, episode.instruction, self._frames, len(self._answers))

    def act(self, answer: str) -> Outcome | None:
        """Do what an answer asks for; return the outcome if that ended the walk."""
        self._answers.append(answer)
        decision = read_answer(answer, self._options.grammar)
        self._in_a_row = self._in_a_row + 1 if decision is None else 0
        if decision is None:
            self._invalid += 1
            if self._in_a_row == _INVALID_IN_A_ROW or self._options.on_invalid is OnInvalid.STOP:
                return self._outcome(Ending.INVALID)
            again = self._options.on_invalid is OnInvalid.REPEAT
            decision = self._last if again else _FORWARD
        self._last = decision
        for _ in range(decision.repeats):
            step = self.world.step(decision.action)
            if decision.action is NavAction.STOP:
                return self._outcome(Ending.STOPPED)
            self._collisions += step.collided
            self._frames.append(step.picture)
            self._path.append(self.world.position())
            if step.done:
                return self._outcome(Ending.LIMIT)
        return None

    def _outcome(self, ending: Ending) -> Outcome:
        episode, profile = self._episode, self._profile
        walk = Walk(
            np.array(self._path),
            ending is Ending.STOPPED,
            decisions=len(self._answers),
            collisions=self._collisions,
            invalid=self._invalid,
        )
        landmarks = self.world.landmarks()
        return Outcome(
            episode=episode,
            scores=score_walk(
                walk,
                episode.goal,
                episode.reference,
                self.world.distance,
                profile,
                shortest_m=episode.shortest_m,
            ),
            path=walk.path,
            answers=tuple(self._answers),
            ending=ending,
            reached=self._reached(landmarks) if walk.stopped else "",
            frames=self._frames,
            outline=self.world.outline(),
            landmarks=landmarks,
        )

    def _reached(self, landmarks: Mapping[str, Point]) -> str:
        """Return the nearest landmark within the radius of success; empty for none."""
        far = {name: self.world.distance(self._path[-1], at) for name, at in landmarks.items()}
        name = min(far, key=far.__getitem__, default="")
        return name if name and far[name] < self._profile.success_m else ""
