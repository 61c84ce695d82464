"""Somebody who knows no more of the rooms than can be seen: what it sees, and what it does then.

The expert of `hocket.nav.rooms.world` knows the way, so its label in front of a pillar that hides
the goal cannot be learned from a picture. The seeker turns left until it sees the goal or the door
to its room. Now and then it walks on instead, drawn by chance: a landmark may stand in the way of
what is looked for, and who only turns never sees behind it.
"""

from __future__ import annotations

import math

import numpy as np

from hocket.nav.captions import Place, Scene, side_of, wanted
from hocket.nav.codec import MOST_REPEATS
from hocket.nav.environment import Decision, NavAction, Point
from hocket.nav.rooms.instructions import name
from hocket.nav.rooms.plan import WALL_COLOURS, Door
from hocket.nav.rooms.world import RoomsEnv

# Walking on, as a share of the decisions in which nothing that is looked for is in sight.
ROAMING = 0.12
# Nearer than this to the middle of the goal it stops; a step too early is still within the radius.
_NEAR_M = 0.7
_STEP_M = 0.25
# Less of a landmark than this is a sliver at an edge that no pixel may show.
_LEAST_SHARE = 0.3
# Free floor ahead that is walked on into.
_OPEN_M = 1.3
# This far from the middle of a door it is a question of where one looks which room is seen.
_SILL_M = 0.35
_HALF_VIEW_DEG = 45.0
# Steps to a door from which the last look still shows its frame.
_LAST_LOOK = 3
_THROUGH_M = (_LAST_LOOK + 0.5) * _STEP_M


def scene(env: RoomsEnv) -> Scene:
    """Return what can be told from where the agent is."""
    things: dict[str, Place] = {}
    taken: set[int] = set()
    seen = [one for one in env.sightings() if one.share >= _LEAST_SHARE]
    # Of two in one direction the nearest is named.
    for one in sorted(seen, key=lambda one: one.depth_m):
        turn = side_of(one.bearing_deg)
        if turn is None or turn in taken:
            continue
        taken.add(turn)
        far = one.depth_m / math.cos(math.radians(one.bearing_deg))
        steps = math.ceil((far - _NEAR_M) / _STEP_M)
        things[name(one.landmark.pair)] = Place(turn, min(MOST_REPEATS, max(0, steps)))
    door = env.door()
    return Scene(
        room=WALL_COLOURS[env.plan.paint[_room(env, door)]],
        things=things,
        door=_door_place(env, door) if door else None,
    )


def seek(
    env: RoomsEnv,
    seen: Scene,
    goal: str,
    *,
    began: str,
    behind_door: bool,
    rng: np.random.Generator,
) -> Decision:
    """Return what to do next.

    Args:
        env: a world with the agent in it.
        seen: its `scene`.
        goal: name of the landmark to find.
        began: colour of the room the walk began in, as of `hocket.nav.captions.wanted`.
        behind_door: whether the goal is in another room than that.
        rng: for chance.
    """
    place = wanted(seen, goal, began=began, behind_door=behind_door)
    if place is None:
        roams = rng.random() < ROAMING and _is_open(env)
        return Decision(NavAction.FORWARD if roams else NavAction.LEFT, MOST_REPEATS)
    if place is seen.things.get(goal):
        if not place.steps:
            return Decision(NavAction.STOP)
        return _toward(env, env.landmarks()[goal][:2], place.steps)
    door = env.door()
    assert door is not None
    middle = np.array([door.x, door.y])
    if np.linalg.norm(middle - env.position()[:2]) < _THROUGH_M and not env.free_turn(
        env.bearing(middle)
    ):
        return Decision(NavAction.FORWARD, MOST_REPEATS)
    return _toward(env, middle, place.steps)


def _toward(env: RoomsEnv, at: Point, steps: int) -> Decision:
    """Return the turn after which a step is free, or steps until there is another to make."""
    turn = env.free_turn(env.bearing(at))
    if turn:
        repeats = min(MOST_REPEATS, round(abs(turn) / env.spec.turn_deg))
        return Decision(NavAction.LEFT if turn > 0 else NavAction.RIGHT, repeats)
    here, heading = env.position(), env.heading_deg
    taken = 0
    while taken < steps and (not taken or not env.free_turn(env.bearing(at))):
        env.stand(env.ahead(), heading)
        taken += 1
    env.stand(here, heading)
    return Decision(NavAction.FORWARD, taken)


def _is_open(env: RoomsEnv) -> bool:
    """Return whether nothing stands close ahead: no wall and no landmark."""
    return env.free_ahead() > _OPEN_M


def _door_place(env: RoomsEnv, door: Door) -> Place | None:
    """Return where the door is, if its middle can be seen."""
    at = np.array([door.x, door.y])
    bearing, far = env.bearing(at), float(np.linalg.norm(at - env.position()[:2]))
    turn = side_of(bearing)
    if turn is None or abs(bearing) > _HALF_VIEW_DEG or far < _SILL_M:
        return None
    if not env.sees(at):
        return None
    left = round(far / _STEP_M) - _LAST_LOOK
    # Whoever is nearer sees no frame any more and could not tell on which side of the door it is.
    return Place(turn, min(MOST_REPEATS, left) if left > 0 else MOST_REPEATS)


def _room(env: RoomsEnv, door: Door | None) -> int:
    """Return the room that is seen: in a door the one ahead."""
    x, y, _ = env.position()
    if door is not None and math.hypot(door.x - x, door.y - y) < 2 * _SILL_M:
        turn = math.radians(env.heading_deg)
        ahead = env.plan.room_at(x + math.cos(turn), y + math.sin(turn))
        if env.door_gap(door) < _SILL_M and ahead >= 0:
            return ahead
    return env.plan.room_at(x, y)
