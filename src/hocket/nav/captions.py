"""What is in a picture of the rooms, in words whose places say where.

Of seven directions, from 45 degrees left to 45 right, what stands there and how many steps off (3
for more), always in four words: ``l45 - - - l30 red ball 3 l15 - - - mid ...``. So each word has
its own place in the picture, which a model learns to look at long before it could find something by
its name; and beside a name stands its direction, for whoever has said it aloud.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hocket.nav.codec import MOST_REPEATS
from hocket.nav.rooms.instructions import name
from hocket.nav.rooms.view import Sighting
from hocket.nav.rooms.world import STOP_M, RoomsEnv

NOTHING = "- - -"
_STEP_DEG = 15
_STEP_M = 0.25
_SIDES = {45: "l45", 30: "l30", 15: "l15", 0: "mid", -15: "r15", -30: "r30", -45: "r45"}
# Less of a landmark than this is a sliver at an edge that no pixel may show.
_LEAST_SHARE = 0.3


def in_sight(env: RoomsEnv) -> list[Sighting]:
    """Return the landmarks that can be told from where the agent is."""
    return [one for one in env.sightings() if one.share >= _LEAST_SHARE]


def caption(seen: Sequence[Sighting]) -> str:
    """Return what stands in each direction, from left to right; the nearest where two do."""
    slots = dict.fromkeys(_SIDES, NOTHING)
    for one in sorted(seen, key=lambda one: -one.depth_m):
        turn = round(one.bearing_deg / _STEP_DEG) * _STEP_DEG
        if turn in slots:
            steps = math.ceil((one.depth_m - STOP_M) / _STEP_M)
            slots[turn] = f"{name(one.landmark.pair)} {min(MOST_REPEATS, max(0, steps))}"
    return " ".join(f"{_SIDES[turn]} {what}" for turn, what in slots.items())
