"""Who decides, and chance.

Agents answer in NaVILA's sentences, many walks at a time, so that one loop and one codec serve
every row of a table. Nothing is remembered between calls: a turn holds all that an agent may know.
The model is `hocket.nav.model_agent`; without it nothing here needs torch.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hocket.nav.codec import MOST_REPEATS, sentence
from hocket.nav.environment import Decision, NavAction, Picture

_ACTIONS = tuple(NavAction)


@dataclass(frozen=True, slots=True)
class Turn:
    """What an agent knows when it is asked.

    Attributes:
        episode: id of the walk.
        instruction: where to go.
        frames: what was seen, one picture for each step, the newest last.
        asked: how often it was asked before in this walk.
    """

    episode: str
    instruction: str
    frames: Sequence[Picture]
    asked: int


class Agent(Protocol):
    """Somebody who decides."""

    def answer(self, turns: Sequence[Turn]) -> list[str]:
        """Return what to do next, in words, for each of some walks."""
        ...


class RandomAgent:
    """Chance: what to do and how often are drawn evenly.

    Args:
        seed: a walk's answers are a function of it, the walk and the turn alone.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def answer(self, turns: Sequence[Turn]) -> list[str]:
        """Return random answers."""
        return [sentence(self._draw(turn)) for turn in turns]

    def _draw(self, turn: Turn) -> Decision:
        walk = zlib.crc32(turn.episode.encode())
        rng = np.random.default_rng([self._seed, walk, turn.asked])
        action = _ACTIONS[int(rng.integers(len(_ACTIONS)))]
        repeats = 1 if action is NavAction.STOP else 1 + int(rng.integers(MOST_REPEATS))
        return Decision(action, repeats)
