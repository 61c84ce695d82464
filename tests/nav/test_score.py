"""Measures of a walk, against VLN-CE's and r4r's own figures."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hocket.nav.environment import Point
from hocket.nav.score import PROFILES, Walk, cls, dtw, score_walk, straight

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics" / "navigation.json"
VECTORS = json.loads(GOLDEN.read_text(encoding="utf-8"))["vectors"]
NAMES = {
    "sr": "success",
    "osr": "oracle_success",
    "spl": "spl",
    "soft_spl": "soft_spl",
    "ne_m": "distance_to_goal",
    "oracle_ne_m": "oracle_navigation_error",
    "tl_m": "path_length",
    "ndtw": "ndtw",
    "sdtw": "sdtw",
    "steps": "steps_taken",
}


@pytest.mark.parametrize("index", range(len(VECTORS)))
def test_measures_are_those_of_vlnce(index: int) -> None:
    vector = VECTORS[index]
    found = score_walk(
        Walk(path=np.array(vector["agent_path"]), stopped=vector["stop_called"]),
        np.array(vector["goal"]),
        np.array(vector["gt_locations"]),
        straight,
        replace(PROFILES["vlnce"], success_m=vector["success_distance"]),
    )
    truth = vector["out_exact_dtw"]
    for ours, theirs in NAMES.items():
        assert found[ours] == pytest.approx(truth[theirs], abs=1e-9), ours


def grid(one: Point, other: Point) -> float:
    """The distance on a grid graph of unit edges."""
    return float(np.abs(one - other).sum())


def test_alignment_on_a_graph() -> None:
    path = np.array([[0, 0], [1, 0], [2, 0], [3, 0]], float)
    reference = np.array([[0, 0], [1, 0], [2, 1], [3, 2]], float)
    assert dtw(path, reference, grid) == 3
    profile = replace(PROFILES["r2r"], success_m=3.0)
    found = score_walk(Walk(path, True), reference[-1], reference, grid, profile, cost=grid)
    assert found["ndtw"] == found["sdtw"] == pytest.approx(0.7788007830714049)
    short = score_walk(Walk(path[:2], True), reference[-1], reference, grid, profile, cost=grid)
    assert short["sdtw"] == 0


def test_coverage_on_a_graph() -> None:
    reference = np.array([[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [3, 2]], float)
    path = np.array([[0, 0], [1, 0], [1, 1], [2, 1], [3, 1], [3, 2]], float)
    assert cls(reference, reference, grid, 3.0) == pytest.approx(1.0)
    assert 0 < cls(path, reference, grid, 3.0) < 1
    assert cls(path[:1], path[:1], grid, 3.0) == 1.0


def test_a_goal_out_of_reach_scores_nothing_and_counts() -> None:
    path = np.zeros((3, 3))
    found = score_walk(
        Walk(path, True), np.ones(3), np.ones((2, 3)), lambda one, other: math.inf, PROFILES["r2r"]
    )
    assert found["spl"] == found["soft_spl"] == found["sr"] == 0
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
