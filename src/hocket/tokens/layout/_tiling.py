"""The grid of square tiles whose shape is nearest to a picture's: InternVL's dynamic tiling.

VITA and VILA 2 use the same rule.
"""

from __future__ import annotations


def tile_grid(height: int, width: int, *, size: int, least: int, most: int) -> tuple[int, int]:
    """Return the (rows, columns) of the tiles of a picture.

    Args:
        height: height in pixels.
        width: width in pixels.
        size: side of a tile in pixels.
        least: fewest tiles.
        most: most tiles; where no grid lies between both, one tile is taken.
    """
    shape = width / height
    best, distance = (1, 1), float("inf")
    for columns, rows in _candidates(least, most):
        off = abs(shape - columns / rows)
        # Of two equally near shapes a picture that fills half of the later one takes it.
        large = height * width > 0.5 * size * size * rows * columns
        if off < distance or (off == distance and large):
            best, distance = (rows, columns), off
    return best


def _candidates(least: int, most: int) -> list[tuple[int, int]]:
    """Return the (columns, rows) by ascending number of tiles.

    Grids of one area keep the order in which a set of the tuples is walked, because checkpoints
    were trained with what that order decides between them. The hash of a tuple of integers does
    not depend on the process.
    """
    found = {
        (columns, rows)
        for count in range(least, most + 1)
        for columns in range(1, count + 1)
        for rows in range(1, count + 1)
        if least <= columns * rows <= most
    }
    return sorted(found, key=lambda grid: grid[0] * grid[1])
