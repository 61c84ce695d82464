"""What is said aloud before a step: what is in sight, which of it is the goal, what follows.

Every word follows from one or two others that are near or marked, so that a small model needs no
search for a name::

    from pink in pink leave , - - - - leftmost - red same ball other left 3 ... the door right 2
    . go blue cone - - . the door right 2 . The next action is turn right 30 degree.

First the rooms, where the walk began (``-`` for a black picture) and here, and whether the way
leads out of here (``leave``) or the goal is looked for here (``stay``); then seven directions, from
45 degrees left to 45 right, always in six words, so that each has its own place in the picture: the
colour, whether it is the goal's (``same`` or ``other``), the shape, whether the thing is the goal
(``this`` or ``other``), the direction and how many steps off (3 for more); then the door. Behind
``go`` stands where the goal is and, where the way leads out of the room, where the door is. Knows
words only.

The marks are what makes it learnable: without them a model of three layers has to find a pair of
words among others, and does not learn to; with them it soon does, and pairs it was never shown are
as good as the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NOTHING = "-"
# No bearing up to this is turned to: the next step forward is what somebody would do.
AHEAD_DEG = 11.25
_STEP_DEG = 15
SIDES = {
    45: "leftmost",
    30: "left",
    15: "leftish",
    0: "mid",
    -15: "rightish",
    -30: "right",
    -45: "rightmost",
}
_DOOR = "the door"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is in a picture.

    Attributes:
        turn_deg: to the left, a key of `SIDES`.
        steps: forward until it is reached, 0 to 3.
    """

    turn_deg: int
    steps: int

    def __str__(self) -> str:
        """Return it in words."""
        return f"{SIDES[self.turn_deg]} {self.steps}"


@dataclass(frozen=True, slots=True)
class Scene:
    """What is in a picture of the rooms.

    Attributes:
        room: colour of the walls of the room that is seen.
        things: name of each landmark that can be told -> where; one for each direction.
        door: where the door is; None where it cannot be seen.
    """

    room: str
    things: Mapping[str, Place] = field(default_factory=dict)
    door: Place | None = None


def side_of(bearing_deg: float) -> int | None:
    """Return the direction that a bearing belongs to; None outside the picture."""
    if abs(bearing_deg) <= AHEAD_DEG:
        return 0
    # Between straight ahead and the first turn there is nothing.
    turns = max(1, round(abs(bearing_deg) / _STEP_DEG))
    turn = _STEP_DEG * (turns if bearing_deg > 0 else -turns)
    return turn if turn in SIDES else None


def caption(scene: Scene, goal: str) -> str:
    """Return the room, what stands in each direction from left to right, and the door."""
    return f"in {scene.room} , {_sides(scene, goal)}"


def _sides(scene: Scene, goal: str) -> str:
    there = {place.turn_deg: (name, place) for name, place in scene.things.items()}
    words = [f"- - - - {side} -" for side in SIDES.values()]
    for at, turn in enumerate(SIDES):
        if turn in there:
            name, place = there[turn]
            words[at] = f"{_marked(name, goal)} {place}"
    return f"{' '.join(words)} {_DOOR} {scene.door or '- -'}"


def _marked(name: str, goal: str) -> str:
    """Return a name with a mark behind each of its words."""
    (colour, shape), wanted_colour = name.split(" "), goal.split(" ")[0]
    same = "same" if colour == wanted_colour else "other"
    return f"{colour} {same} {shape} {'this' if name == goal else 'other'}"


def wanted(scene: Scene, goal: str, *, began: str, behind_door: bool) -> Place | None:
    """Return what to go to: the goal, the door to its room, or None: it has to be looked for.

    In the room that a walk began in the door comes first: who turns to a goal that is seen through
    it loses it behind the frame, turns back to the door, sees the goal, and so on for ever.

    Args:
        scene: what is in sight.
        goal: name of a landmark.
        began: colour of the room the walk began in; `NOTHING` where it begins here.
        behind_door: whether the goal is in another room than that.
    """
    if _leaves(scene, began, behind_door) and scene.door is not None:
        return scene.door
    return scene.things.get(goal)


def _leaves(scene: Scene, began: str, behind_door: bool) -> bool:
    return behind_door and began in (NOTHING, scene.room)


def aloud(scene: Scene, goal: str, *, began: str, behind_door: bool) -> str:
    """Return all that is said before NaVILA's sentence; arguments as of `wanted`."""
    leaves = _leaves(scene, began, behind_door)
    words = f"from {began} in {scene.room} {'leave' if leaves else 'stay'} , {_sides(scene, goal)}"
    words += f" . go {goal} {scene.things.get(goal, '- -')} ."
    if leaves:
        words += f" {_DOOR} {scene.door or '- -'} ."
    return words
