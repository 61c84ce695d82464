"""A floor plan: rooms cut out of a rectangle, doors between them, landmarks in them.

Lengths are metres, x to the east and y to the north; cells are `CELL_M` wide and indexed [y, x].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELL_M = 0.25
DOOR_CELLS = 5
# A room smaller than this has no place for landmarks beside its doors.
LEAST_ROOM_CELLS = 14
LANDMARK_RADIUS_M = 0.22
# From a landmark to the next, to a wall and to a door: an agent passes everywhere.
_CLEAR_M = 0.6
_OUTSIDE = -1

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
# Of things in training pictures only: a shape that comes in many colours is a shape of its own.
MORE_COLOURS = ("black", "rose", "teal", "lime", "sky", "mint")
SHAPES = ("ball", "box", "cone", "pillar")
WALL_COLOURS = ("brown", "grey", "pink", "cyan", "white", "olive")


@dataclass(frozen=True, slots=True)
class Landmark:
    """A thing that instructions name.

    Attributes:
        colour: one of `COLOURS` or `MORE_COLOURS`.
        shape: one of `SHAPES`.
        x: of its middle, in metres.
        y: of its middle.
        room: which room it is in.
    """

    colour: str
    shape: str
    x: float
    y: float
    room: int

    @property
    def pair(self) -> tuple[str, str]:
        """What it is called by."""
        return self.colour, self.shape


@dataclass(frozen=True, slots=True)
class Door:
    """An opening between two rooms.

    Attributes:
        rooms: which ones.
        x: of its middle, in metres.
        y: of its middle.
    """

    rooms: tuple[int, int]
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A place.

    Attributes:
        wall: whether a cell is wall, (H, W).
        room: which room a cell belongs to, doors to one of theirs, walls -1, (H, W).
        paint: index into `WALL_COLOURS` of each room's walls.
        doors: between rooms.
        landmarks: in rooms.
        seed: textures come from it.
    """

    wall: NDArray[np.bool_]
    room: NDArray[np.int64]
    paint: tuple[int, ...]
    doors: tuple[Door, ...]
    landmarks: tuple[Landmark, ...]
    seed: int

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and depth of the place."""
        return self.wall.shape[1] * CELL_M, self.wall.shape[0] * CELL_M

    def room_at(self, x: float, y: float) -> int:
        """Return which room a point is in; -1 in a wall or outside."""
        row, column = int(y / CELL_M), int(x / CELL_M)
        inside = 0 <= row < self.room.shape[0] and 0 <= column < self.room.shape[1]
        return int(self.room[row, column]) if inside else _OUTSIDE


@dataclass(frozen=True, slots=True)
class _Box:
    """Cells top..bottom, left..right of a room, walls left out."""

    top: int
    bottom: int
    left: int
    right: int


def make_plan(
    seed: int,
    *,
    rooms: int = 1,
    side_m: float = 5.0,
    landmarks: int = 4,
    pairs: tuple[tuple[str, str], ...] = (),
    distinct: bool = False,
) -> Plan:
    """Return a place.

    Args:
        seed: decides everything.
        rooms: how many; fewer where the place is too small to cut.
        side_m: width and depth of a place of one room; it grows with the number of rooms.
        landmarks: things in each room.
        pairs: colour and shape they may have; all unless given.
        distinct: whether no colour appears twice in a room.
    """
    rng = np.random.default_rng([seed, 1])
    cells = round(side_m / CELL_M)
    height = cells + 2
    width = cells * (2 if rooms > 1 else 1) + 3
    if rooms > 2:
        height = 2 * cells + 3
    wall = np.ones((height, width), bool)
    boxes = _cut(_Box(1, height - 1, 1, width - 1), rooms, rng)
    room = np.full(wall.shape, _OUTSIDE)
    for index, box in enumerate(boxes):
        wall[box.top : box.bottom, box.left : box.right] = False
        room[box.top : box.bottom, box.left : box.right] = index
    doors = _doors(boxes, wall, room, rng)
    paint = tuple(int(one) for one in rng.permutation(len(WALL_COLOURS)))
    paint = tuple(paint[index % len(paint)] for index in range(len(boxes)))
    found = _place(boxes, doors, landmarks, pairs or all_pairs(), distinct, rng)
    return Plan(wall, room, paint, doors, found, seed)


def all_pairs(colours: tuple[str, ...] = COLOURS) -> tuple[tuple[str, str], ...]:
    """Return every colour with every shape."""
    return tuple((colour, shape) for colour in colours for shape in SHAPES)


def _cut(whole: _Box, rooms: int, rng: np.random.Generator) -> list[_Box]:
    """Cut the largest box in two until there are enough."""
    boxes = [whole]
    while len(boxes) < rooms:
        boxes.sort(key=lambda box: (box.bottom - box.top) * (box.right - box.left))
        box = boxes.pop()
        tall = box.bottom - box.top > box.right - box.left
        low, high = (box.top, box.bottom) if tall else (box.left, box.right)
        room_left = high - low - 1 - 2 * LEAST_ROOM_CELLS
        if room_left < 0:
            return [*boxes, box]
        at = low + LEAST_ROOM_CELLS + int(rng.integers(0, room_left + 1))
        if tall:
            boxes += [
                _Box(box.top, at, box.left, box.right),
                _Box(at + 1, box.bottom, box.left, box.right),
            ]
        else:
            boxes += [
                _Box(box.top, box.bottom, box.left, at),
                _Box(box.top, box.bottom, at + 1, box.right),
            ]
    return boxes


def _doors(
    boxes: list[_Box],
    wall: NDArray[np.bool_],
    room: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[Door, ...]:
    """Open a door between neighbours until every room can be reached."""
    found: list[Door] = []
    reached = {0}
    while len(reached) < len(boxes):
        choices = [
            (one, other, shared)
            for one in sorted(reached)
            for other in range(len(boxes))
            if other not in reached and (shared := _shared(boxes[one], boxes[other]))
        ]
        one, other, (row, column, upright, length) = choices[int(rng.integers(len(choices)))]
        # Not beside a corner, where the frame would touch the next wall.
        offset = 1 + int(rng.integers(0, length - DOOR_CELLS - 1))
        row, column = (row + offset, column) if upright else (row, column + offset)
        rows = slice(row, row + (DOOR_CELLS if upright else 1))
        columns = slice(column, column + (1 if upright else DOOR_CELLS))
        wall[rows, columns] = False
        room[rows, columns] = one
        middle_x = (columns.start + columns.stop) / 2 * CELL_M
        middle_y = (rows.start + rows.stop) / 2 * CELL_M
        found.append(Door((one, other), middle_x, middle_y))
        reached.add(other)
    return tuple(found)


def _shared(one: _Box, other: _Box) -> tuple[int, int, bool, int] | None:
    """Return row, column, whether upright, and length of the wall between two rooms."""
    top, bottom = max(one.top, other.top), min(one.bottom, other.bottom)
    left, right = max(one.left, other.left), min(one.right, other.right)
    if bottom - top >= DOOR_CELLS + 2:
        if one.right + 1 == other.left:
            return top, one.right, True, bottom - top
        if other.right + 1 == one.left:
            return top, other.right, True, bottom - top
    if right - left >= DOOR_CELLS + 2:
        if one.bottom + 1 == other.top:
            return one.bottom, left, False, right - left
        if other.bottom + 1 == one.top:
            return other.bottom, left, False, right - left
    return None


def _place(
    boxes: list[_Box],
    doors: tuple[Door, ...],
    count: int,
    pairs: tuple[tuple[str, str], ...],
    distinct: bool,
    rng: np.random.Generator,
) -> tuple[Landmark, ...]:
    """Put landmarks where an agent can walk around each."""
    found: list[Landmark] = []
    left_over = [pairs[int(at)] for at in rng.permutation(len(pairs))]
    for index, box in enumerate(boxes):
        here: list[Landmark] = []
        for _ in range(200):
            if len(here) == count or not left_over:
                break
            margin = _CLEAR_M + LANDMARK_RADIUS_M
            x = float(rng.uniform(box.left * CELL_M + margin, box.right * CELL_M - margin))
            y = float(rng.uniform(box.top * CELL_M + margin, box.bottom * CELL_M - margin))
            near = [(door.x, door.y, DOOR_CELLS * CELL_M / 2) for door in doors]
            near += [(one.x, one.y, 2 * LANDMARK_RADIUS_M) for one in here]
            if any(np.hypot(x - a, y - b) < radius + _CLEAR_M for a, b, radius in near):
                continue
            taken = {one.colour for one in here}
            fits = [pair for pair in left_over if not (distinct and pair[0] in taken)]
            if not fits:
                break
            left_over.remove(fits[0])
            here.append(Landmark(*fits[0], x, y, index))
        found += here
    return tuple(found)
