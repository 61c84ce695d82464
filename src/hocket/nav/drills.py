r"""The answers of `hocket.nav.captions` in words alone, without a picture.

Who has to learn to see and to find a name from the same pictures learns neither. A made-up scene
costs a tenth of the computation of a picture, so the second skill has rows of its own::

    OUT/drills.json  {"id": "7", "conversations": [
                        {"from": "human", "value": "go to the red ball."},
                        {"from": "gpt", "value": "from - in pink leave , - - - - ..."}]}

The scene cannot be foretold, its marks and all behind them can. So nothing but how often a word
follows another is learned of the scene itself, and "red" must not be followed by three shapes of
four: whoever has learned that there are no red cones does not see one. Here the colours of the
walks come with no shape at all ("red thing"), and shapes in colours that have them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from hocket.nav.captions import NOTHING, SIDES, Place, Scene, aloud, wanted
from hocket.nav.codec import MOST_REPEATS, sentence
from hocket.nav.environment import Decision, NavAction
from hocket.nav.rooms.instructions import instruct, name
from hocket.nav.rooms.plan import COLOURS, MORE_COLOURS, WALL_COLOURS, all_pairs
from hocket.nav.rooms.seeker import ROAMING

_STEP_DEG = 15
_DRILLS = 3
_HALF = 0.5
_ABSENT_SHARE = 0.3
_NO_SHAPE = "thing"

_T = TypeVar("_T")
Pair = tuple[str, str]


def drill_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Return rows of made-up scenes; the same for the same seed."""
    rows = []
    for number in range(count):
        question, answer = drill(np.random.default_rng([seed, _DRILLS, number]))
        talk = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        rows.append({"id": str(number), "conversations": talk})
    return rows


def drill(rng: np.random.Generator) -> tuple[str, str]:
    """Return an instruction and what is said and done in a made-up scene."""
    scene, there, absent = _make(rng)
    began = [NOTHING, scene.room, _one(WALL_COLOURS, rng)][int(rng.integers(3))]
    behind = bool(rng.random() < _HALF)
    pair = absent if not there or rng.random() < _ABSENT_SHARE else _one(there, rng)
    words = instruct(
        int(behind),
        [pair],
        wall=_one(WALL_COLOURS, rng),
        side="left",
        paraphrase=int(rng.integers(1000)),
    )
    goal = name(pair)
    place = wanted(scene, goal, began=began, behind_door=behind)
    said = aloud(scene, goal, began=began, behind_door=behind)
    return words, f"{said} {sentence(_step(place, place is scene.things.get(goal), rng))}"


def _make(rng: np.random.Generator) -> tuple[Scene, list[Pair], Pair]:
    """Return a scene, what is in it, and something that is not."""
    pairs = [*all_pairs(MORE_COLOURS), *((colour, _NO_SHAPE) for colour in COLOURS)]
    order = _shuffled(pairs, rng)
    if rng.random() < _HALF:
        # What shares a colour or a shape is told apart by the other word only.
        colour, shape = order[0]
        order.sort(key=lambda one: one[0] != colour and one[1] != shape)
    sides = _shuffled(list(SIDES), rng)
    count = int(rng.integers(0, len(sides) + 1))
    scene = Scene(
        room=_one(WALL_COLOURS, rng),
        things={
            name(pair): Place(side, int(rng.integers(MOST_REPEATS + 1)))
            for pair, side in zip(order[:count], sides, strict=False)
        },
        door=_door(rng) if rng.random() < _HALF else None,
    )
    return scene, order[:count], order[count]


def _step(place: Place | None, is_goal: bool, rng: np.random.Generator) -> Decision:
    """Return what is done where nothing is in the way."""
    if place is None:
        roams = rng.random() < ROAMING
        return Decision(NavAction.FORWARD if roams else NavAction.LEFT, MOST_REPEATS)
    if is_goal and not place.steps:
        return Decision(NavAction.STOP)
    if place.turn_deg:
        side = NavAction.LEFT if place.turn_deg > 0 else NavAction.RIGHT
        return Decision(side, abs(place.turn_deg) // _STEP_DEG)
    return Decision(NavAction.FORWARD, place.steps)


def _door(rng: np.random.Generator) -> Place:
    return Place(list(SIDES)[int(rng.integers(len(SIDES)))], 1 + int(rng.integers(MOST_REPEATS)))


def _one(things: Sequence[_T], rng: np.random.Generator) -> _T:
    return things[int(rng.integers(len(things)))]


def _shuffled(things: Sequence[_T], rng: np.random.Generator) -> list[_T]:
    return [things[int(at)] for at in rng.permutation(len(things))]
