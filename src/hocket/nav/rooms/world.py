"""The rooms as a world to walk in, with somebody who knows the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hocket._errors import ConfigError
from hocket.nav.codec import MOST_REPEATS, merge
from hocket.nav.environment import (
    Decision,
    NavAction,
    NavEpisode,
    NavSpec,
    NavStep,
    Picture,
    Point,
    Segments,
)
from hocket.nav.rooms.episodes import RoomsEpisode, RoomsOptions, make_episode
from hocket.nav.rooms.plan import CELL_M, DOOR_CELLS, LANDMARK_RADIUS_M, Door, Plan
from hocket.nav.rooms.view import Sighting, View, wall_faces
from hocket.nav.rooms.ways import AGENT_M, Ways

# The expert stops here: well inside the radius, and with the landmark still in the picture.
STOP_M = 0.75
_VISIT_M = 0.9
# The expert keeps this much from corners: with whole turns it cannot follow a line to the inch.
_BERTH_M = 0.12
# More than half a turn: an expert that corrects less would correct back at the next step.
_STRAY_SHARE = 0.75
# Half of what a step forward may meet.
_NARROW_DEG = 20.0
_REACH_M = 0.05


class RoomsEnv:
    """Rooms to walk in.

    Args:
        options: which walks.
        spec: how the agent moves and sees.
    """

    def __init__(
        self,
        options: RoomsOptions,
        spec: NavSpec = NavSpec(max_steps=200),  # noqa: B008  # frozen
    ) -> None:
        self.options = options
        self._spec = spec
        self._episode: RoomsEpisode | None = None

    @property
    def spec(self) -> NavSpec:
        """How the agent moves and sees."""
        return self._spec

    def episodes(self) -> Sequence[RoomsEpisode]:
        """Return every walk."""
        return [make_episode(self.options, index) for index in range(self.options.episodes)]

    def reset(self, episode: NavEpisode) -> Picture:
        """Put the agent at the start of one of this world's walks.

        Raises:
            ConfigError: the walk is of another world.
        """
        if not isinstance(episode, RoomsEpisode):
            raise ConfigError(f"{episode.id}: a walk of another world; take one of episodes().")
        self._episode = episode
        self._view = View(
            episode.plan,
            width=self.spec.width,
            height=self.spec.height,
            hfov_deg=self.spec.hfov_deg,
        )
        self._ways = Ways(episode.plan)
        self._berth = Ways(episode.plan, agent_m=AGENT_M + _BERTH_M)
        self._at = episode.start[:2].copy()
        self.heading_deg = episode.heading_deg
        self._steps, self._visited = 0, 0
        return self.look()

    def stand(self, at: Point, heading_deg: float) -> None:
        """Put the agent elsewhere in the place of its walk, (2,) or (3,)."""
        self._at, self.heading_deg, self._visited = at[:2].copy(), heading_deg, 0

    def is_free(self, at: Point) -> bool:
        """Return whether an agent can stand somewhere in the place of its walk, (2,)."""
        assert self._episode is not None
        inside = self._episode.plan.room_at(*map(float, at)) >= 0
        return inside and not self._ways.blocked(at[None])[0]

    def look(self) -> Picture:
        """Return what the agent sees, (H, W, 3) uint8."""
        return self._view.draw(self._at, self.heading_deg)

    def sightings(self) -> list[Sighting]:
        """Return which landmarks the agent sees, from left to right."""
        return self._view.sightings(self._at, self.heading_deg)

    @property
    def plan(self) -> Plan:
        """The place of its walk."""
        assert self._episode is not None
        return self._episode.plan

    def bearing(self, at: Point) -> float:
        """Return how far to the left of straight ahead a point is, -180 to 180 degrees."""
        away = at[:2] - self._at
        turn = np.degrees(np.arctan2(away[1], away[0])) - self.heading_deg
        return float((turn + 180) % 360 - 180)

    def ahead(self) -> Point:
        """Return where a step forward would end if nothing were in the way, (2,)."""
        turn = np.radians(self.heading_deg)
        way: Point = self._at + self.spec.forward_m * np.array([np.cos(turn), np.sin(turn)])
        return way

    def free_ahead(self) -> float:
        """Return how far the nearest thing in the middle of the picture is, in metres."""
        walls = self._view.depth(self._at, self.heading_deg)
        middle = walls[len(walls) * 7 // 16 : len(walls) * 9 // 16 + 1]
        near = [one.depth_m for one in self.sightings() if abs(one.bearing_deg) < _NARROW_DEG]
        return min(float(middle.min()), *near, np.inf)

    def door(self) -> Door | None:
        """Return the nearest door of the place; None where there is none."""
        x, y = self._at
        return min(self.plan.doors, key=lambda one: np.hypot(one.x - x, one.y - y), default=None)

    def door_gap(self, door: Door) -> float:
        """Return how far the agent is from the wall that a door is in, in metres."""
        upright = self.plan.room_at(door.x, door.y + DOOR_CELLS * CELL_M) < 0
        return float(abs(self._at[0] - door.x) if upright else abs(self._at[1] - door.y))

    def sees(self, at: Point) -> bool:
        """Return whether a point is in the picture with no wall or landmark before it."""
        turn = np.radians(self.bearing(at))
        far = float(np.linalg.norm(at[:2] - self._at))
        ahead, left = far * np.cos(turn), far * np.sin(turn)
        walls = self._view.depth(self._at, self.heading_deg)
        focal = len(walls) / 2 / np.tan(np.radians(self.spec.hfov_deg) / 2)
        column = int(len(walls) / 2 - left / max(ahead, _REACH_M) * focal)
        if ahead <= 0 or not 0 <= column < len(walls) or walls[column] < ahead:
            return False
        hiding = [one for one in self.sightings() if one.depth_m < ahead]
        width = np.degrees(np.arctan2(LANDMARK_RADIUS_M, max(ahead, _REACH_M)))
        return all(abs(one.bearing_deg - np.degrees(turn)) > width for one in hiding)

    def step(self, action: NavAction) -> NavStep:
        """Act."""
        met = self._act(action)
        self._steps += action is not NavAction.STOP
        done = action is NavAction.STOP or self._steps >= self.spec.max_steps
        return NavStep(self.look(), met, done)

    def _act(self, action: NavAction) -> bool:
        """Move or turn the agent; return whether something was in the way."""
        if action is NavAction.FORWARD:
            turn = np.radians(self.heading_deg)
            way = self.spec.forward_m * np.array([np.cos(turn), np.sin(turn)])
            self._at, met = self._ways.move(self._at, way, sliding=self.spec.sliding)
            return met
        if action is not NavAction.STOP:
            side = 1 if action is NavAction.LEFT else -1
            self.heading_deg = (self.heading_deg + side * self.spec.turn_deg) % 360
        return False

    def position(self) -> Point:
        """Return where the agent is."""
        return np.array([*self._at, 0.0])

    def distance(self, start: Point, goal: Point) -> float:
        """Return the length of the shortest way, in metres."""
        return self._ways.distance(start[:2], goal[:2])

    def landmarks(self) -> Mapping[str, Point]:
        """Return the landmarks by name."""
        assert self._episode is not None
        things = self._episode.plan.landmarks
        return {" ".join(one.pair): np.array([one.x, one.y, 0.0]) for one in things}

    def outline(self) -> Segments:
        """Return the walls' faces, (S, 2, 2)."""
        assert self._episode is not None
        north, east = wall_faces(self._episode.plan.wall)
        upright = np.stack([north[:, [0, 1]], north[:, [0, 2]]], axis=1)
        flat = np.stack([east[:, [1, 0]], east[:, [2, 0]]], axis=1)
        return np.concatenate([upright, flat])

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def expert_action(self) -> NavAction:
        """Return what somebody would do who sees what the agent sees.

        It turns left until the next point of the way is in the picture, so that the same history
        never has two answers; what is in the picture it faces the shorter way round.
        """
        goal = self._target()
        if goal is None:
            return NavAction.STOP
        ways = self._ways if self._berth.blocked(self._at[None])[0] else self._berth
        away = ways.next_corner(self._at, goal) - self._at
        bearing = np.degrees(np.arctan2(away[1], away[0])) - self.heading_deg
        bearing = (bearing + 180) % 360 - 180
        turn = self.free_turn(float(bearing))
        if not turn:
            return NavAction.FORWARD
        hidden = abs(bearing) > self.spec.hfov_deg / 2
        return NavAction.LEFT if hidden or turn > 0 else NavAction.RIGHT

    def expert_decision(self, episode: RoomsEpisode | None = None) -> Decision:
        """Return the expert's next steps as one decision: up to three equal ones.

        Args:
            episode: another walk of the same place with one landmark to visit, asked for from
                where the agent is; None for its own.
        """
        kept = self._at, self.heading_deg, self._visited, self._episode
        if episode is not None:
            self._episode, self._visited = episode, 0
        actions = [self.expert_action()]
        while len(actions) < MOST_REPEATS and actions[-1] is actions[0] is not NavAction.STOP:
            self._act(actions[-1])
            actions.append(self.expert_action())
        self._at, self.heading_deg, self._visited, self._episode = kept
        return merge(actions)

    def free_turn(self, bearing_deg: float) -> float:
        """Return the turn nearest to a bearing after which a step forward meets nothing."""
        step = self.spec.turn_deg
        if abs(bearing_deg) <= _STRAY_SHARE * step:
            bearing_deg = 0.0
        turns = np.arange(round(360 / step)) * step
        turns = (turns + 180) % 360 - 180
        for turn in turns[np.argsort(np.abs(turns - bearing_deg), kind="stable")]:
            heading = np.radians(self.heading_deg + turn)
            way = self.spec.forward_m * np.array([np.cos(heading), np.sin(heading)])
            if not self._ways.move(self._at, way, sliding=False)[1]:
                return float(turn)
        return step

    def _target(self) -> Point | None:
        """Return the landmark to walk to now; None at the goal."""
        assert self._episode is not None
        targets = self._episode.targets
        while self._visited < len(targets):
            one = targets[self._visited]
            point = np.array([one.x, one.y])
            last = self._visited == len(targets) - 1
            if self._ways.distance(self._at, point) > (STOP_M if last else _VISIT_M):
                return point
            self._visited += 1
        return None
