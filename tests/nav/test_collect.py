"""Rows to learn from: what they say is what is there, and the readers take them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from hocket._errors import ConfigError, DataError
from hocket.chat.navigation import Asking
from hocket.chat.readers.llava import llava
from hocket.chat.readers.navila import navila
from hocket.data.mixture import open_source
from hocket.data.spec import DatasetSpec
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.nav.agent import RandomAgent
from hocket.nav.codec import MOST_REPEATS, read_answer
from hocket.nav.collect import RELABELLED, CollectOptions, collect
from hocket.nav.environment import NavAction, NavSpec
from hocket.nav.questions import questions_about, write_questions
from hocket.nav.rooms.episodes import HELD_OUT, RoomsOptions, Split
from hocket.nav.rooms.plan import COLOURS, SHAPES, Landmark
from hocket.nav.rooms.world import RoomsEnv
from hocket.nav.sights import SightOptions, write_sights

ROOMS = RoomsOptions(episodes=3, levels=(0, 1), seed=3)
SPEC = NavSpec(width=24, height=24, max_steps=200)


def make_world() -> RoomsEnv:
    return RoomsEnv(ROOMS, SPEC)


def rows_of(folder: Path, name: str = "walks.json") -> list[dict]:  # type: ignore[type-arg] # JSON
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_rows_are_the_experts_and_frames_lie_there_once(tmp_path: Path) -> None:
    count = collect(make_world, tmp_path, CollectOptions(epsilon=0.3, stops=2))
    rows = rows_of(tmp_path)
    assert len(rows) == count
    frames = {path for row in rows for path in row["frames"]}
    assert frames == {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*.png")}
    assert all(read_answer(row["a"]) for row in rows)
    stops = [row for row in rows if read_answer(row["a"]).action is NavAction.STOP]  # type: ignore[union-attr] # checked above
    assert set(Counter(row["video_id"] for row in stops).values()) == {2}
    own = [row for row in rows if RELABELLED not in row]
    assert {row["video_id"].split("-")[0] for row in own} == {"0", "1", "2"}
    # The last decision of every walk is to stop, whatever strayed before.
    for walk in ("0", "1", "2"):
        last = [row for row in own if row["video_id"].split("-")[0] == walk][-1]
        assert last["a"] == "The next action is stop."


def test_without_randomness_the_rows_lead_to_the_goal(tmp_path: Path) -> None:
    collect(make_world, tmp_path, CollectOptions(epsilon=0.0, others=0, stops=1))
    world = make_world()
    rows = rows_of(tmp_path)
    for number, episode in enumerate(world.episodes()):
        world.reset(episode)
        for row in (one for one in rows if one["video_id"].startswith(f"{number}-")):
            assert row["q"] == episode.instruction
            newest = np.asarray(PIL.Image.open(tmp_path / row["frames"][-1]))
            np.testing.assert_array_equal(newest, world.look())
            decision = read_answer(row["a"])
            assert decision is not None
            for _ in range(decision.repeats):
                world.step(decision.action)
        assert world.distance(world.position(), episode.goal) < 1.0


def test_a_policy_is_visited_and_the_same_beside_others(tmp_path: Path) -> None:
    for batch in (1, 2):
        options = CollectOptions(epsilon=0.0, beta=0.3, batch=batch)
        collect(make_world, tmp_path / str(batch), options, policy=RandomAgent())
    one, two = (rows_of(tmp_path / str(batch)) for batch in (1, 2))
    assert one == two
    collect(make_world, tmp_path / "expert", CollectOptions(epsilon=0.0))
    assert rows_of(tmp_path / "expert") != one


def test_a_folder_is_written_once(tmp_path: Path) -> None:
    collect(make_world, tmp_path, CollectOptions())
    with pytest.raises(DataError, match="walks are written into a new folder"):
        collect(make_world, tmp_path, CollectOptions())
    with pytest.raises(ConfigError, match="epsilon: 2 is not a share"):
        CollectOptions(epsilon=2)


@pytest.mark.parametrize("prompt", list(Asking))
def test_the_reader_asks_as_the_walker_is_asked(tmp_path: Path, prompt: Asking) -> None:
    collect(make_world, tmp_path, CollectOptions())
    row = rows_of(tmp_path)[-1]
    talk = navila(row, root=tmp_path, where="walks", frames=2, clean=False, prompt=prompt)
    pictures = [one for one in talk.messages[0].media if isinstance(one, Image)]
    assert len(pictures) == 2
    assert row["q"] in talk.messages[0].text
    assert (prompt is Asking.NAVILA) == ("robot" in talk.messages[0].text)


def test_sights_say_what_is_there(tmp_path: Path) -> None:
    options = SightOptions(pictures=12, per_place=4, drills=5, aloud=True)
    assert write_sights(ROOMS, SPEC, tmp_path, options) == 12
    shapes, sights, goals, of_usual, names = (
        {row["id"]: row for row in rows_of(tmp_path, f"{name}.json")}
        for name in ("shapes", "sights", "goals", "asked", "names")
    )
    assert shapes.keys() == names.keys()
    assert shapes.keys().isdisjoint(sights)
    assert shapes.keys() == goals.keys()
    assert sights.keys() == of_usual.keys()
    assert len(rows_of(tmp_path, "drills.json")) == 5
    for number, goal in (goals | of_usual).items():
        asked = llava(goal, root=tmp_path, where="goals")
        assert len([one for one in asked.messages[0].media if isinstance(one, Image)]) == 2
        said = asked.messages[1].text
        assert read_answer(said)
        assert not any(f"{colour} {shape}" in bare(said) for colour, shape in HELD_OUT)
        there = bare(said.partition(" in ")[2].partition(" . go ")[0])
        # Both are of one picture: they differ in marks only.
        seen = llava((shapes | sights)[number], root=tmp_path, where="sights").messages[1].text
        assert there == bare(seen[len("in ") :])
        if number in sights:
            continue
        talk = llava(names[number], root=tmp_path, where="names").messages
        for question, answer in zip(talk[::2], talk[1::2], strict=True):
            if "door" in question.text:
                assert f" the door {answer.text}".replace("- -", "") in f" {there} "
                continue
            side = question.text.partition("What is ")[2].rstrip("?")
            words = answer.text.split()
            # Nothing there tells a shape from its colour.
            assert words[0] not in COLOURS
            if words[0] == "-":
                assert not any(f"{shape} {side} " in there for shape in SHAPES)
            else:
                assert f"{words[0]} {words[1]} {side} {words[2]}" in there


def test_decoys_are_no_pair_of_the_tests(tmp_path: Path) -> None:
    write_sights(ROOMS, SPEC, tmp_path, SightOptions(pictures=60, drills=0))
    files = ("goals.json", "asked.json", "sights.json")
    for row in (row for file in files for row in rows_of(tmp_path, file)):
        question = row["conversations"][0]["value"]
        assert not any(f"{colour} {shape}" in question for colour, shape in HELD_OUT)


MARKS = ("same", "other", "this", "leave", "stay", "-")


def bare(text: str) -> str:
    """A caption without its marks."""
    return " ".join(one for one in text.split() if one not in MARKS)


def test_aloud_walks_are_labelled_by_who_only_sees(tmp_path: Path) -> None:
    collect(make_world, tmp_path, CollectOptions(aloud=True, others=0, epsilon=0.0, stops=1))
    for row in rows_of(tmp_path):
        assert row["a"].startswith("from - in " if len(row["frames"]) == 1 else "from ")
        found = row["a"].partition(" . go ")[2]
        goal = " ".join(found.split()[:2])
        assert goal in row["q"]
        decision = read_answer(row["a"])
        assert decision is not None
        if found.split()[2] == "-" and "the door" not in found:
            assert decision.repeats == MOST_REPEATS
            assert decision.action in (NavAction.LEFT, NavAction.FORWARD)


def test_questions_have_the_answers_of_the_room() -> None:
    there = [
        Landmark("red", "ball", 1.0, 1.0, 0),
        Landmark("blue", "ball", 1.5, 1.0, 0),
        Landmark("red", "cone", 4.0, 4.0, 0),
    ]
    for seed in range(20):
        asked = dict(questions_about(there, np.zeros(3), np.random.default_rng(seed)))
        truth = {
            "How many balls are there?": "two",
            "How many boxes are there?": "no",
            "Is there anything red?": "yes",
            "Is there anything green?": "no",
            "What color is the cone?": "red",
            "What is blue?": "ball",
            "What is closest to the red ball?": "blue ball",
            "What is closest to the red cone?": "blue ball",
            "What is closest to you?": "red ball",
        }
        assert all(asked[one][0] == truth[one] for one in asked if one in truth)
        assert "What color is the ball?" not in asked
        assert "What is red?" not in asked


def test_questions_are_read_as_the_benchmarks_are(tmp_path: Path) -> None:
    rooms = RoomsOptions(episodes=2, split=Split.VAL_UNSEEN, seed=3)
    asked = write_questions(rooms, NavSpec(width=32, height=32), tmp_path)
    scans, tours = rows_of(tmp_path, "ScanQA_v1.0_val.json"), rows_of(tmp_path, "annotations.json")
    assert (asked.questions, asked.tours) == (len(scans), len(tours))
    assert len({row["question_id"] for row in scans}) == len(scans)
    for name in {row["scene_id"] for row in scans} | {row["video_id"] for row in tours}:
        assert Video.from_path(tmp_path / "videos" / f"{name}.mp4").where.path.exists()  # type: ignore[union-attr] # from a path


def test_the_data_config_reads_the_files(tmp_path: Path) -> None:
    collect(make_world, tmp_path, CollectOptions())
    spec = DatasetSpec(
        path=str(tmp_path / "walks.json"),
        reader="navila",
        reader_options={"prompt": "short", "frames": 2, "clean": False},
    )
    source = open_source("walks", spec)
    assert source[0].messages[1].text.startswith("The next action is")
