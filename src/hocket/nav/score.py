"""How good a walk was: the measures of VLN-CE, R2R and r4r, exact.

P positions of the walk, (P, 3); R reference points, (R, 3). Distances are a world's own.
Sources: Anderson et al. 2018 (SPL), Ilharco et al. 2019 (nDTW, sDTW), Jain et al. 2019 (CLS),
habitat-lab (SoftSPL), VLN-CE (positions that repeat do not count for DTW).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hocket.nav.environment import Point

Distance = Callable[[Point, Point], float]
Path = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a benchmark means by its measures.

    Attributes:
        name: said beside every figure.
        success_m: how near the goal counts.
        needs_stop: whether the agent must have said so.
        at_radius: whether a walk that ends exactly at the radius counts.
        skips_repeats: whether a position equal to the one before is left out of DTW.
        walked: whether DTW and CLS measure the way to walk, as r4r does on its graphs, in place of
            the straight line.
        max_steps: steps until an episode is cut.
        turn_deg: degrees of one turn.
        hfov_deg: horizontal field of view.
        width: of a picture, in pixels.
        height: of a picture, in pixels.
        sliding: whether a blocked agent slides along the wall.
    """

    name: str
    success_m: float = 3.0
    needs_stop: bool = True
    at_radius: bool = False
    skips_repeats: bool = True
    walked: bool = False
    max_steps: int = 500
    turn_deg: float = 15.0
    hfov_deg: float = 90.0
    width: int = 224
    height: int = 224
    sliding: bool = True


PROFILES = {
    profile.name: profile
    for profile in [
        Profile("vlnce"),
        Profile("r2r", needs_stop=False, skips_repeats=False, walked=True),
        Profile("rxr_ce", turn_deg=30.0, hfov_deg=79.0, width=640, height=480, sliding=False),
        # NaVILA walks RxR as it walks R2R, in larger pictures.
        Profile("rxr_navila", width=512, height=512),
        # Three metres would be half of one of these rooms.
        Profile("rooms", success_m=1.0, max_steps=500, width=96, height=96),
    ]
}


@dataclass(frozen=True, slots=True)
class Walk:
    """What an agent did.

    Attributes:
        path: where it was, the start and one position per step, (P, 3).
        stopped: whether it said that it had arrived.
        decisions: how often the model was asked.
        collisions: steps with something in the way.
        invalid: answers that could not be read.
    """

    path: Path
    stopped: bool
    decisions: int = 0
    collisions: int = 0
    invalid: int = 0


def score_walk(
    walk: Walk,
    goal: Point,
    reference: Path,
    distance: Distance,
    profile: Profile,
    *,
    shortest_m: float | None = None,
    cost: Distance | None = None,
) -> dict[str, float]:
    """Return every measure of one walk.

    A goal that cannot be reached, or a walk that left the world, has an infinite error and
    scores 0, where VLN-CE's own aggregation drops it without a word.

    Args:
        walk: what the agent did.
        goal: where it was to stop, (3,).
        reference: the way it was to take, (R, 3).
        distance: of the world, in metres.
        profile: what counts.
        shortest_m: length of the shortest walk that does what was asked, where that is not the
            shortest way to the goal.
        cost: distance between two points for DTW and CLS; the profile's unless given.
    """
    cost = cost or (distance if profile.walked else straight)
    shortest = distance(walk.path[0], goal) if shortest_m is None else shortest_m
    errors = [distance(point, goal) for point in walk.path]
    error, length = errors[-1], path_length(walk.path)
    near = [_near(one, profile) for one in errors]
    success = float(near[-1] and (walk.stopped or not profile.needs_stop))
    share = _share(shortest, length)
    seen = _without_repeats(walk.path) if profile.skips_repeats else walk.path
    ndtw = math.exp(-dtw(seen, reference, cost) / (len(reference) * profile.success_m))
    soft = max(0.0, 1 - error / shortest) if 0 < shortest < math.inf else float(error == 0)
    return {
        "sr": success,
        "osr": float(any(near)),
        "spl": success * share,
        "soft_spl": soft * share,
        "ne_m": error,
        "oracle_ne_m": min(errors),
        "tl_m": length,
        "ndtw": ndtw,
        "sdtw": success * ndtw,
        "cls": cls(walk.path, reference, cost, profile.success_m),
        # VLN-CE counts the stop as a step.
        "steps": float(len(walk.path) - 1 + walk.stopped),
        "decisions": float(walk.decisions),
        "collisions": float(walk.collisions),
        "invalid": float(walk.invalid),
    }


def straight(one: Point, other: Point) -> float:
    """Return the straight line between two points, in metres."""
    return float(np.linalg.norm(one - other))


def path_length(path: Path) -> float:
    """Return the length of a walk: the sum of the straight lines between its points."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def dtw(path: Path, reference: Path, cost: Distance) -> float:
    """Return the least cost of walking both ways side by side, neither ever backwards."""
    costs = _costs(path, reference, cost)
    total = np.full((len(path) + 1, len(reference) + 1), np.inf)
    total[0, 0] = 0.0
    for row in range(1, len(path) + 1):
        for column in range(1, len(reference) + 1):
            before = min(total[row - 1, column], total[row, column - 1], total[row - 1, column - 1])
            total[row, column] = costs[row - 1, column - 1] + before
    return float(total[-1, -1])


def cls(path: Path, reference: Path, cost: Distance, scale_m: float) -> float:
    """Return the coverage of the reference, weighted by how well the length fits."""
    coverage = float(np.exp(-_costs(path, reference, cost).min(axis=0) / scale_m).mean())
    if not coverage:
        return 0.0
    expected = coverage * _length(reference, cost)
    off = abs(expected - _length(path, cost))
    if not expected + off:
        return coverage
    return coverage * expected / (expected + off)


def _length(path: Path, cost: Distance) -> float:
    return float(sum(cost(one, other) for one, other in pairwise(path)))


def _costs(path: Path, reference: Path, cost: Distance) -> NDArray[np.float64]:
    """Return (P, R) costs."""
    if cost is straight:
        gaps: NDArray[np.float64] = np.linalg.norm(path[:, None] - reference[None], axis=-1)
        return gaps
    return np.array([[cost(one, other) for other in reference] for one in path])


def _near(error: float, profile: Profile) -> bool:
    return error < profile.success_m or (profile.at_radius and error == profile.success_m)


def _share(shortest: float, length: float) -> float:
    """Return how much of a walk was needed; all of one that had nowhere to go."""
    if not math.isfinite(shortest):
        return 0.0
    longest = max(shortest, length)
    return shortest / longest if longest else 1.0


def _without_repeats(path: Path) -> Path:
    kept: Sequence[int] = [
        at for at in range(len(path)) if at == 0 or not np.array_equal(path[at], path[at - 1])
    ]
    return path[kept]
