"""What is said aloud: each word follows from the scene, and drills say what scenes would."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hocket.nav.captions import NOTHING, Place, Scene, aloud, caption, side_of, wanted
from hocket.nav.codec import read_answer
from hocket.nav.drills import drill, drill_rows
from hocket.nav.environment import Decision, NavAction
from hocket.nav.rooms.plan import COLOURS, SHAPES

SCENE = Scene("pink", {"red ball": Place(30, 3), "red cone": Place(0, 0)}, Place(-45, 2))


def test_a_caption_has_every_word_in_its_place_and_marks_the_goal() -> None:
    words = caption(SCENE, "red cone").split()
    assert words[:3] == ["in", "pink", ","]
    assert words[9:15] == ["red", "same", "ball", "other", "left", "3"]
    assert words[21:27] == ["red", "same", "cone", "this", "mid", "0"]
    assert words[45:] == ["the", "door", "rightmost", "2"]
    assert "red other" not in caption(SCENE, "red box")
    assert "same" not in caption(SCENE, "blue ball")


@pytest.mark.parametrize(
    ("bearing", "side"),
    [(0, 0), (11, 0), (-11, 0), (12, 15), (-12, -15), (37, 30), (38, 45), (52, 45), (53, None)],
)
def test_directions(bearing: float, side: int | None) -> None:
    assert side_of(bearing) == side


@pytest.mark.parametrize(
    ("goal", "began", "behind", "end"),
    [
        ("red ball", "pink", True, "go red ball left 3 . the door rightmost 2 ."),
        ("red ball", "cyan", True, "go red ball left 3 ."),
        ("red ball", "pink", False, "go red ball left 3 ."),
        ("blue ball", "pink", False, "go blue ball - - ."),
        ("blue ball", "pink", True, "go blue ball - - . the door rightmost 2 ."),
        ("blue ball", NOTHING, True, "go blue ball - - . the door rightmost 2 ."),
        ("blue ball", "cyan", True, "go blue ball - - ."),
    ],
)
def test_the_door_matters_only_in_the_room_a_walk_began_in(
    goal: str, began: str, behind: bool, end: str
) -> None:
    said = aloud(SCENE, goal, began=began, behind_door=behind)
    assert said.endswith(f" . {end}")
    way = "leave" if "the door" in end else "stay"
    assert said.startswith(f"from {began} in pink {way} , ")


def test_a_goal_behind_the_door_is_not_turned_to_before_the_door() -> None:
    def place(began: str, **more: bool) -> Place | None:
        return wanted(SCENE, "red ball", began=began, **more)

    assert place("pink", behind_door=True) == place(NOTHING, behind_door=True) == SCENE.door
    assert place("cyan", behind_door=True) == place("pink", behind_door=False) == Place(30, 3)
    # In the door nothing but the goal is in sight.
    there = Scene("pink", SCENE.things)
    assert wanted(there, "red ball", began="pink", behind_door=True) == Place(30, 3)


def test_drills_do_what_they_say_and_name_no_pair_of_the_tests() -> None:
    actions = set()
    for seed in range(200):
        question, answer = drill(np.random.default_rng(seed))
        found = answer.partition(" . go ")[2].split()
        assert f"{found[0]} {found[1]}" in question
        decision = read_answer(answer)
        assert decision is not None
        actions.add(decision.action)
        if found[2] == "mid" and found[3] != "0" and "door" not in found:
            assert decision == Decision(NavAction.FORWARD, int(found[3]))
        # No colour of the walks is followed by some shapes and never by others.
        words = [one for one in answer.split() if one not in ("same", "other", "this")]
        pairs = set(itertools.pairwise(words))
        assert not pairs & set(itertools.product(COLOURS, SHAPES))
    assert actions == set(NavAction)
    assert drill_rows(3, 1) == drill_rows(3, 1) != drill_rows(3, 2)
