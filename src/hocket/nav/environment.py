"""What every world offers whoever walks in it, and what it asks in return.

Adapters implement `NavEnv`; the loop, the expert and the scores know nothing else of a world.
Positions are metres, (3,) float64; headings are degrees, counter-clockwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Point = NDArray[np.float64]
Picture = NDArray[np.uint8]
Segments = NDArray[np.float64]


class NavAction(IntEnum):
    """The four steps of VLN-CE, with its numbers."""

    STOP = 0
    FORWARD = 1
    LEFT = 2
    RIGHT = 3


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done next.

    Attributes:
        action: the step.
        repeats: how often, at least once.
    """

    action: NavAction
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class NavSpec:
    """How an agent moves and sees.

    Attributes:
        forward_m: metres of one step forward.
        turn_deg: degrees of one turn.
        hfov_deg: horizontal field of view.
        width: of a picture, in pixels.
        height: of a picture, in pixels.
        max_steps: steps until an episode is cut.
        sliding: whether a blocked agent slides along the wall.
    """

    forward_m: float = 0.25
    turn_deg: float = 15.0
    hfov_deg: float = 90.0
    width: int = 64
    height: int = 64
    max_steps: int = 500
    sliding: bool = True


@dataclass(frozen=True, slots=True)
class NavEpisode:
    """One walk that somebody asks for.

    Attributes:
        id: unique in its world's list.
        scene: the place.
        instruction: where to go, in words.
        language: of the instruction, as ISO 639-1.
        start: where the agent begins, (3,).
        heading_deg: which way it looks.
        goal: where it is to stop, (3,).
        reference: the way it is to take, (R, 3).
        shortest_m: length of the shortest walk that does what the words say, where it is not the
            shortest way to the goal.
        info: what else the world knows of it: level, split, objects.
    """

    id: str
    scene: str
    instruction: str
    language: str
    start: Point
    heading_deg: float
    goal: Point
    reference: NDArray[np.float64]
    shortest_m: float | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NavStep:
    """What one action did.

    Attributes:
        picture: what the agent sees now, (H, W, 3) uint8.
        collided: whether something was in the way.
        done: whether the episode is over: the agent stopped or used up its steps.
    """

    picture: Picture
    collided: bool
    done: bool


class NavEnv(Protocol):
    """A world."""

    @property
    def spec(self) -> NavSpec:
        """How an agent moves and sees here."""
        ...

    def episodes(self) -> Sequence[NavEpisode]:
        """Return every walk, in a fixed order."""
        ...

    def reset(self, episode: NavEpisode) -> Picture:
        """Put the agent at the start; return what it sees, (H, W, 3) uint8."""
        ...

    def step(self, action: NavAction) -> NavStep:
        """Act."""
        ...

    def position(self) -> Point:
        """Return where the agent is, (3,)."""
        ...

    def distance(self, start: Point, goal: Point) -> float:
        """Return how far it is to walk, in metres; infinite where there is no way."""
        ...

    def landmarks(self) -> Mapping[str, Point]:
        """Return the things of this place that a walk may end at; empty where none are known."""
        ...

    def outline(self) -> Segments:
        """Return the place from above as lines, (S, 2, 2) in metres; none where it is unknown."""
        ...

    def close(self) -> None:
        """Give back what the world holds, such as a simulator or a connection."""
        ...


@runtime_checkable
class Guided(Protocol):
    """A world that knows the way."""

    def expert_decision(self) -> Decision:
        """Return what to do next from here."""
        ...
