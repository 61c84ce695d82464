"""Where an agent can be, and the shortest way: exact, from corner to corner.

The agent is a square of half-side `AGENT_M` that does not turn; walls and landmarks grow by that,
and it becomes a point. The shortest way between two points then bends only at corners of the grown
rectangles (a visibility graph, Lozano-Perez and Wesley 1979).
Letters: K rectangles, N corners, Q points.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from hocket.nav.rooms.plan import CELL_M, LANDMARK_RADIUS_M, Plan

AGENT_M = 0.15
_EPSILON_M = 1e-9
_PIECE_M = 0.05

Array = NDArray[np.float64]


class Ways:
    """Free space of a place.

    Args:
        plan: the place.
        agent_m: half the side of the agent.
    """

    def __init__(self, plan: Plan, *, agent_m: float = AGENT_M) -> None:
        things = [(one.x, one.y) for one in plan.landmarks]
        radius = LANDMARK_RADIUS_M
        blocks = [(x - radius, y - radius, x + radius, y + radius) for x, y in things]
        self._blocks = np.array(wall_blocks(plan.wall) + blocks).reshape(-1, 4)
        self._blocks += np.array([-agent_m, -agent_m, agent_m, agent_m])
        corners = self._blocks[:, [[0, 1], [0, 3], [2, 1], [2, 3]]].reshape(-1, 2)
        self._corners = corners[~self.blocked(corners)]
        self._sees = self._visible(self._corners, self._corners, self._blocks)
        self._fields: dict[tuple[float, float], tuple[Array, Array]] = {}

    def blocked(self, points: Array) -> NDArray[np.bool_]:
        """Return which points an agent cannot be at; (Q, 2) to (Q,)."""
        return np.array([_inside(point, self._blocks).any() for point in points], bool)

    def move(self, start: Array, way: Array, *, sliding: bool) -> tuple[Array, bool]:
        """Return where an agent ends that walks along a vector, and whether it met something."""
        pieces = max(1, round(float(np.linalg.norm(way)) / _PIECE_M))
        at, piece, met = start.copy(), way / pieces, False
        for _ in range(pieces):
            tries = [piece]
            if sliding:
                tries += [piece * np.array([1.0, 0.0]), piece * np.array([0.0, 1.0])]
            free = ~self.blocked(at[None] + np.array(tries))
            met |= not free[0]
            if not free.any():
                break
            at = at + tries[int(free.argmax())]
        return at, met

    def distance(self, start: Array, goal: Array) -> float:
        """Return the length of the shortest way; infinite where there is none."""
        return self._first(start, goal)[0]

    def next_corner(self, start: Array, goal: Array) -> Array:
        """Return the point to walk to first, straight from here."""
        return self._first(start, goal)[1]

    def path(self, start: Array, goal: Array) -> Array:
        """Return the corners of the shortest way, both ends included, (R, 2)."""
        points = [start]
        while not np.array_equal(points[-1], goal) and len(points) <= len(self._corners) + 1:
            points.append(self.next_corner(points[-1], goal))
        return np.array(points)

    def _first(self, start: Array, goal: Array) -> tuple[float, Array]:
        blocks, far = self._field(goal)
        # One who stands nearer to something than the agent is wide may still walk away from it.
        blocks = blocks[~_inside(start, blocks)]
        ends = np.concatenate([goal[None], self._corners])
        sees = self._visible(start[None], ends, blocks)[0]
        gaps = np.linalg.norm(ends - start, axis=1)
        # A corner that the agent stands on is no step forward.
        sees &= (gaps > _EPSILON_M) | (np.arange(len(ends)) == 0)
        total = np.where(sees, gaps + np.concatenate([[0.0], far]), np.inf)
        best = int(total.argmin())
        return float(total[best]), ends[best]

    def _field(self, goal: Array) -> tuple[Array, Array]:
        """Return what stands in the way to a goal, (K, 4), and each corner's distance, (N,)."""
        key = (float(goal[0]), float(goal[1]))
        if key not in self._fields:
            inside = _inside(goal, self._blocks)
            # The way to a landmark ends in its middle, where no agent can be.
            blocks = self._blocks[~inside]
            sees = self._sees
            if inside.any():
                sees = self._visible(self._corners, self._corners, blocks)
            starts = self._visible(goal[None], self._corners, blocks)[0]
            self._fields[key] = blocks, _shortest(goal, self._corners, starts, sees)
        return self._fields[key]

    @staticmethod
    def _visible(starts: Array, ends: Array, blocks: Array) -> NDArray[np.bool_]:
        """Return whether the straight line between points is free: (A, 2), (B, 2) to (A, B)."""
        way = (ends[None] - starts[:, None])[:, :, None]
        origin = starts[:, None, None]
        low, high = blocks[:, :2] + _EPSILON_M, blocks[:, 2:] - _EPSILON_M
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (low - origin) / way, (high - origin) / way
        enter, leave = np.minimum(one, other), np.maximum(one, other)
        # Along an axis the line stays where it is: always between the sides, or never.
        still = np.broadcast_to(way == 0, enter.shape)
        between = np.broadcast_to((origin > low) & (origin < high), enter.shape)
        enter = np.where(still, np.where(between, -np.inf, np.inf), enter).max(-1)
        leave = np.where(still, np.where(between, np.inf, -np.inf), leave).min(-1)
        crosses = np.maximum(enter, 0.0) < np.minimum(leave, 1.0)
        free: NDArray[np.bool_] = ~crosses.any(-1)
        return free


def wall_blocks(wall: NDArray[np.bool_]) -> list[tuple[float, float, float, float]]:
    """Return the walls as few rectangles: west, south, east, north, in metres."""
    left = wall.copy()
    found = []
    for row, column in np.argwhere(wall):
        if not left[row, column]:
            continue
        right = column
        while right < wall.shape[1] and left[row, right]:
            right += 1
        below = row
        while below < wall.shape[0] and left[below, column:right].all():
            below += 1
        left[row:below, column:right] = False
        found.append((column * CELL_M, row * CELL_M, right * CELL_M, below * CELL_M))
    return found


def _inside(point: Array, blocks: Array) -> NDArray[np.bool_]:
    """Return which rectangles a point is in, (K,)."""
    west, south, east, north = blocks.T
    x, y = point
    along = (x > west + _EPSILON_M) & (x < east - _EPSILON_M)
    inside: NDArray[np.bool_] = along & (y > south + _EPSILON_M) & (y < north - _EPSILON_M)
    return inside


def _shortest(
    goal: Array, corners: Array, starts: NDArray[np.bool_], sees: NDArray[np.bool_]
) -> Array:
    """Return each corner's distance to the goal (Dijkstra 1959)."""
    far = np.where(starts, np.linalg.norm(corners - goal, axis=1), np.inf)
    gaps = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
    queue = [(float(one), at) for at, one in enumerate(far) if np.isfinite(one)]
    heapq.heapify(queue)
    while queue:
        length, at = heapq.heappop(queue)
        if length > far[at]:
            continue
        for other in np.flatnonzero(sees[at] & (length + gaps[at] < far - _EPSILON_M)):
            far[other] = length + gaps[at, other]
            heapq.heappush(queue, (float(far[other]), int(other)))
    return far
