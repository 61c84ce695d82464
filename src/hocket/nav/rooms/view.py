"""What an agent sees: walls, floor and landmarks, drawn from inside with numpy.

Every column of the picture is one ray. Walls are where it first meets one; the floor is looked up
cell by cell; landmarks stand upright, face the agent, and are hidden by what is nearer.
Letters: W columns, H rows, S wall segments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hocket.nav.rooms.plan import CELL_M, LANDMARK_RADIUS_M, Landmark, Plan

WALL_HEIGHT_M = 2.0
CAMERA_M = 0.6
_NEAREST_M = 0.05
_SHADE_PER_M = 0.06
_LEAST_LIGHT = 0.55

_COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 170, 50),
    "blue": (40, 70, 230),
    "yellow": (240, 220, 30),
    "purple": (150, 40, 190),
    "orange": (245, 140, 20),
    "black": (25, 25, 25),
    "rose": (255, 100, 175),
    "teal": (0, 140, 140),
    "lime": (160, 255, 60),
    "sky": (90, 185, 255),
    "mint": (0, 230, 145),
}
# Pale, so that no wall is taken for a landmark.
_WALLS = np.array(
    [
        (150, 120, 95),
        (140, 140, 145),
        (215, 170, 180),
        (150, 205, 205),
        (215, 215, 210),
        (160, 165, 120),
    ],
    np.float64,
)
_CEILING = np.array((235, 238, 242), np.float64)
_FLOOR = np.array(((105, 100, 95), (125, 120, 114)), np.float64)
_HEIGHT_M = {"ball": 0.5, "box": 0.5, "cone": 0.8, "pillar": 1.3}

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A landmark in a picture.

    Attributes:
        landmark: which.
        depth_m: how far ahead it is.
        bearing_deg: how far to the left of the middle; negative to the right.
        share: how much of its width can be seen, 0 to 1.
    """

    landmark: Landmark
    depth_m: float
    bearing_deg: float
    share: float


class View:
    """A camera in a place.

    Args:
        plan: the place.
        width: of a picture, in pixels.
        height: of a picture, in pixels.
        hfov_deg: horizontal field of view.
    """

    def __init__(self, plan: Plan, *, width: int, height: int, hfov_deg: float) -> None:
        self.plan, self._width, self._height = plan, width, height
        self._upright, self._flat = wall_faces(plan.wall)
        # Pixels that a metre at a depth of one metre is wide, and high.
        self._focal = width / 2 / math.tan(math.radians(hfov_deg) / 2)
        self._across = (np.arange(width) + 0.5 - width / 2) / self._focal
        rows = np.arange(height) + 0.5 - height / 2
        self._below = rows > 0
        self._floor_depth = CAMERA_M * self._focal / rows[self._below]

    def draw(self, at: Array, heading_deg: float) -> NDArray[np.uint8]:
        """Return the picture from a place, (H, W, 3).

        Args:
            at: where the camera is, (2,).
            heading_deg: which way it looks.
        """
        picture, depth = self._empty(at, heading_deg)
        for landmark, ahead, left in self._by_depth(at, heading_deg):
            self._stand(picture, depth, landmark, ahead, left)
        return picture.round().astype(np.uint8)

    def depth(self, at: Array, heading_deg: float) -> NDArray[np.float32]:
        """Return how far ahead every wall is, column by column, in metres, (W,)."""
        return self._walls(at, heading_deg)[0].astype(np.float32)

    def sightings(self, at: Array, heading_deg: float) -> list[Sighting]:
        """Return which landmarks can be seen, from left to right."""
        depth = self._walls(at, heading_deg)[0]
        found = []
        for landmark, ahead, left in reversed(self._by_depth(at, heading_deg)):
            columns, wide = self._columns(ahead, left)
            open_ = depth[columns] > ahead
            share = float(open_.sum()) / wide
            # What is nearer hides what comes after it.
            depth[columns] = np.where(open_, ahead, depth[columns])
            if share > 0:
                bearing = math.degrees(math.atan2(left, ahead))
                found.append(Sighting(landmark, ahead, bearing, min(1.0, share)))
        return sorted(found, key=lambda one: -one.bearing_deg)

    def _empty(self, at: Array, heading_deg: float) -> tuple[Array, Array]:
        """Return the picture without landmarks, and the depth of each column."""
        depth, along, upright, room = self._walls(at, heading_deg)
        light = np.clip(1 - _SHADE_PER_M * depth, _LEAST_LIGHT, 1.0) * np.where(upright, 1.0, 0.88)
        # Stripes half a metre wide: without them nothing moves when an agent walks along a wall.
        stripe = np.where(np.floor(along / (2 * CELL_M)) % 2 == 0, 1.0, 0.93)
        paint = np.array(self.plan.paint)
        colour = _WALLS[paint[np.clip(room, 0, None)]] * (light * stripe)[:, None]
        rows = (np.arange(self._height) + 0.5 - self._height / 2)[:, None]
        scale = self._focal / depth
        foot, top = CAMERA_M * scale, -(WALL_HEIGHT_M - CAMERA_M) * scale
        picture = np.where((rows < top)[..., None], _CEILING, colour[None])
        below = self._below
        floor = self._floor(at, heading_deg)
        picture[below] = np.where((rows[below] > foot)[..., None], floor, picture[below])
        return picture, depth

    def _floor(self, at: Array, heading_deg: float) -> Array:
        """Return the floor's colours, (rows below the horizon, W, 3)."""
        ahead, left = _axes(heading_deg)
        way = ahead[None] - self._across[:, None] * left[None]
        points = at + self._floor_depth[:, None, None] * way[None]
        tiles = np.floor(points / (2 * CELL_M)).astype(np.int64).sum(-1) % 2
        light = np.clip(1 - _SHADE_PER_M * self._floor_depth, _LEAST_LIGHT, 1.0)
        found: Array = _FLOOR[tiles] * light[:, None, None]
        return found

    def _walls(
        self, at: Array, heading_deg: float
    ) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.int64]]:
        """Return depth, place along the wall, whether it runs north, and its room; each (W,)."""
        ahead, left = _axes(heading_deg)
        way = ahead[None] - self._across[:, None] * left[None]
        north = _meet(self._upright, at[0], at[1], way[:, 0], way[:, 1])
        east = _meet(self._flat, at[1], at[0], way[:, 1], way[:, 0])
        upright = north[0] < east[0]
        depth = np.where(upright, north[0], east[0])
        along = np.where(upright, north[1], east[1])
        # A little before the wall is the room that it is seen from.
        points = at + (depth - _NEAREST_M)[:, None] * way
        cells = np.clip(
            (points / CELL_M).astype(np.int64), 0, np.array(self.plan.room.shape)[::-1] - 1
        )
        room = self.plan.room[cells[:, 1], cells[:, 0]]
        return np.maximum(depth, _NEAREST_M), along, upright, room

    def _by_depth(self, at: Array, heading_deg: float) -> list[tuple[Landmark, float, float]]:
        """Return the landmarks in front with metres ahead and to the left, farthest first."""
        ahead, left = _axes(heading_deg)
        found = []
        for landmark in self.plan.landmarks:
            away = np.array([landmark.x, landmark.y]) - at
            depth = float(away @ ahead)
            if depth > LANDMARK_RADIUS_M / 2:
                found.append((landmark, depth, float(away @ left)))
        return sorted(found, key=lambda one: -one[1])

    def _columns(self, ahead: float, left: float) -> tuple[NDArray[np.int64], float]:
        """Return the columns that a landmark covers, and how many it would without the edge."""
        middle = self._width / 2 - left / ahead * self._focal
        half = LANDMARK_RADIUS_M / ahead * self._focal
        first, last = max(0, math.ceil(middle - half - 0.5)), math.floor(middle + half - 0.5)
        return np.arange(first, min(self._width - 1, last) + 1), max(1.0, 2 * half)

    def _stand(
        self, picture: Array, depth: Array, landmark: Landmark, ahead: float, left: float
    ) -> None:
        """Draw a landmark where nothing nearer is."""
        columns, _ = self._columns(ahead, left)
        columns = columns[depth[columns] > ahead]
        if not len(columns):
            return
        scale = self._focal / ahead
        height = _HEIGHT_M[landmark.shape]
        # Across: -1 at the left edge, 1 at the right; up: 0 at the floor, 1 at the top.
        middle = self._width / 2 - left * scale
        across = (columns.astype(np.float64) + 0.5 - middle) / (LANDMARK_RADIUS_M * scale)
        foot = self._height / 2 + CAMERA_M * scale
        up = (foot - np.arange(self._height, dtype=np.float64) - 0.5) / (height * scale)
        inside = _OUTLINES[landmark.shape](across[None], up[:, None])
        inside &= (up[:, None] >= 0) & (up[:, None] <= 1)
        light = max(_LEAST_LIGHT, 1 - _SHADE_PER_M * ahead) * _shade(
            landmark.shape, across[None], up[:, None]
        )
        colour = np.array(_COLOURS[landmark.colour]) * light[..., None]
        part = picture[:, columns]
        picture[:, columns] = np.where(inside[..., None], colour, part)


def wall_faces(wall: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the faces between wall and free cells, those in a line as one.

    Returns:
        Faces that run north as (x, south, north), (S, 3), and faces that run east as
        (y, west, east), in metres.
    """
    return _faces(wall), _faces(wall.T)


def _faces(wall: NDArray[np.bool_]) -> Array:
    changes = wall[:, 1:] != wall[:, :-1]
    found = []
    for column in range(changes.shape[1]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], changes[:, column], [0]])))
        for first, last in edges.reshape(-1, 2):
            found.append(((column + 1) * CELL_M, first * CELL_M, last * CELL_M))
    return np.array(found, np.float64).reshape(-1, 3)


def _meet(
    faces: Array, across: float, along: float, way: Array, side: Array
) -> tuple[Array, Array]:
    """Return for each ray how far the first face is and where on it: (W,), (W,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far = (faces[None, :, 0] - across) / way[:, None]
        at = along + far * side[:, None]
    hit = (far > 0) & (at >= faces[None, :, 1]) & (at <= faces[None, :, 2])
    far = np.where(hit, far, np.inf)
    first = far.argmin(1)
    rays = np.arange(len(way))
    return far[rays, first], np.where(np.isfinite(far[rays, first]), at[rays, first], 0.0)


def _axes(heading_deg: float) -> tuple[Array, Array]:
    """Return the directions ahead and to the left."""
    turn = math.radians(heading_deg)
    return np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])


_Outline = Callable[[Array, Array], NDArray[np.bool_]]


def _shade(shape: str, across: Array, up: Array) -> Array:
    """Return how light a surface is that turns away: a ball's on all sides, a box's on none."""
    if shape == "box":
        return np.ones_like(across * up)
    if shape == "ball":
        shade: Array = 1 - 0.45 * (across**2 + (2 * up - 1) ** 2)
        return shade
    return 1 - 0.25 * np.abs(across) * np.ones_like(up)


def _ball(across: Array, up: Array) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = across**2 + (2 * up - 1) ** 2 <= 1
    return inside


def _box(across: Array, up: Array) -> NDArray[np.bool_]:
    return (np.abs(across) <= 1) & (up <= 1)


def _cone(across: Array, up: Array) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.abs(across) <= 1 - up
    return inside


def _pillar(across: Array, up: Array) -> NDArray[np.bool_]:
    return (np.abs(across) <= 0.55) & (up <= 1)


_OUTLINES: dict[str, _Outline] = {"ball": _ball, "box": _box, "cone": _cone, "pillar": _pillar}
