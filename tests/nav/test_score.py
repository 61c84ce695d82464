"""Measures of a walk; VLN-CE's and r4r's own figures are compared in `tests.eval.parity`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hocket.nav.environment import Point
from hocket.nav.score import PROFILES, Walk, dtw, score_walk, straight


def grid(one: Point, other: Point) -> float:
    """The distance on a grid graph of unit edges."""
    return float(np.abs(one - other).sum())


def slow_dtw(path: np.ndarray, reference: np.ndarray) -> float:
    """The least cost over every alignment, by trying all."""

    def onward(row: int, column: int) -> float:
        here = straight(path[row], reference[column])
        if (row, column) == (len(path) - 1, len(reference) - 1):
            return here
        steps = [(row + 1, column), (row, column + 1), (row + 1, column + 1)]
        ways = [onward(*step) for step in steps if step[0] < len(path) and step[1] < len(reference)]
        return here + min(ways)

    return onward(0, 0)


points = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(points, points)
def test_measures_of_any_two_paths(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    path, reference = np.array(one, float), np.array(other, float)
    assert dtw(path, reference, straight) == pytest.approx(slow_dtw(path, reference))
    assert dtw(path, reference, straight) == pytest.approx(dtw(reference, path, straight))
    for profile in PROFILES.values():
        found = score_walk(Walk(path, True), reference[-1], reference, straight, profile)
        assert all(math.isfinite(value) for value in found.values())
        assert 0 <= found["spl"] <= found["sr"] <= found["osr"] <= 1
        assert found["sdtw"] <= found["ndtw"] <= 1 and 0 <= found["cls"] <= 1


def test_r2r_measures_along_its_graph() -> None:
    path = np.array([[0, 0], [1, 0]], float)
    reference = np.array([[0, 1], [1, 1]], float)
    found = {
        name: score_walk(
            Walk(path, True), reference[-1], reference, lambda a, b: 2 * grid(a, b), PROFILES[name]
        )
        for name in ("r2r", "vlnce")
    }
    assert found["r2r"]["ndtw"] == pytest.approx(math.exp(-4 / 6))
    assert found["vlnce"]["ndtw"] == pytest.approx(math.exp(-2 / 6))


def test_a_goal_out_of_reach_scores_nothing_and_counts() -> None:
    path = np.zeros((3, 3))
    found = score_walk(
        Walk(path, True), np.ones(3), np.ones((2, 3)), lambda one, other: math.inf, PROFILES["r2r"]
    )
    assert found["spl"] == found["soft_spl"] == found["sr"] == 0
    assert found["ndtw"] == found["cls"] == 0
    assert found["ne_m"] == math.inf


def test_nowhere_to_go_is_not_divided_by() -> None:
    here = np.zeros((1, 3))
    found = score_walk(Walk(here, True), here[0], here, straight, PROFILES["vlnce"])
    assert found["spl"] == found["soft_spl"] == found["ndtw"] == 1


def test_the_radius_itself_is_not_near_unless_the_profile_says_so() -> None:
    path, goal = np.zeros((1, 3)), np.array([3.0, 0, 0])
    profile = PROFILES["vlnce"]
    assert score_walk(Walk(path, True), goal, path, straight, profile)["sr"] == 0
    within = replace(profile, at_radius=True)
    assert score_walk(Walk(path, True), goal, path, straight, within)["sr"] == 1
    assert score_walk(Walk(path, False), goal, path, straight, within)["sr"] == 0


def test_the_walk_that_was_asked_for_may_be_longer_than_the_way() -> None:
    path = np.array([[0, 0, 0], [2, 0, 0], [0, 0, 0]], float)
    goal = np.array([0.5, 0, 0])
    profile = PROFILES["rooms"]
    assert score_walk(Walk(path, True), goal, path, straight, profile)["spl"] == 0.125
    asked = score_walk(Walk(path, True), goal, path, straight, profile, shortest_m=4.0)
    assert asked["spl"] == 1
