"""The closed loop: what strange answers do, what a walk's end drops, what a stop costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hocket._errors import ConfigError
from hocket.nav.agent import RandomAgent, Turn
from hocket.nav.codec import Grammar, sentence
from hocket.nav.environment import NavSpec
from hocket.nav.loop import Ending, LoopOptions, OnInvalid, Outcome, walk_all
from hocket.nav.record import read_log
from hocket.nav.rooms.episodes import RoomsOptions
from hocket.nav.rooms.world import RoomsEnv
from hocket.nav.run import RunOptions, read_logs, run
from hocket.nav.score import PROFILES
from hocket.nav.table import table

ROOMS = RoomsOptions(episodes=5, seed=3)
SPEC = NavSpec(width=16, height=16, max_steps=12)


def make_world() -> RoomsEnv:
    return RoomsEnv(ROOMS, SPEC)


class Says:
    """Says the same texts in every walk, the last one for ever."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.turns: list[Turn] = []

    def answer(self, turns: Sequence[Turn]) -> list[str]:
        self.turns += turns
        return [self.texts[min(turn.asked, len(self.texts) - 1)] for turn in turns]


class Expert:
    """Has a copy of each world and does what its expert says."""

    def __init__(self) -> None:
        self.worlds: dict[str, RoomsEnv] = {}

    def answer(self, turns: Sequence[Turn]) -> list[str]:
        return [self.say(turn) for turn in turns]

    def say(self, turn: Turn) -> str:
        if not turn.asked:
            world = RoomsEnv(ROOMS, NavSpec(width=16, height=16))
            world.reset(next(one for one in world.episodes() if one.id == turn.episode))
            self.worlds[turn.episode] = world
        world = self.worlds[turn.episode]
        decision = world.expert_decision()
        for _ in range(decision.repeats):
            world.step(decision.action)
        return sentence(decision)


def walk(agent: Says, options: LoopOptions) -> Outcome:
    episode = make_world().episodes()[0]
    (outcome,) = walk_all(make_world, [episode], agent, PROFILES["rooms"], options)
    return outcome


LEFT = "The next action is turn left 45 degree."


@pytest.mark.parametrize(
    ("on_invalid", "steps"),
    [(OnInvalid.FORWARD25, 1 + 3 + 2), (OnInvalid.REPEAT, 1 + 3 + 6), (OnInvalid.STOP, 0)],
)
def test_answers_that_nobody_can_read(on_invalid: OnInvalid, steps: int) -> None:
    outcome = walk(Says("hm", LEFT, "hm"), LoopOptions(on_invalid=on_invalid))
    assert outcome.ending is Ending.INVALID
    assert len(outcome.path) - 1 == steps
    assert outcome.scores["sr"] == 0
    assert outcome.scores["invalid"] == sum(text == "hm" for text in outcome.answers)


def test_a_cut_drops_what_an_answer_still_asked_for() -> None:
    far = Says("The next action is move forward 10000 cm.")
    outcome = walk(far, LoopOptions())
    assert outcome.ending is Ending.LIMIT
    assert len(outcome.path) - 1 == SPEC.max_steps
    assert outcome.scores["decisions"] == 1


def test_every_step_is_a_frame() -> None:
    say = Says("The next action is turn left 45 degree.", "The next action is stop.")
    outcome = walk(say, LoopOptions())
    assert outcome.ending is Ending.STOPPED
    assert len(outcome.frames) == len(outcome.path) == 4


def test_the_strict_grammar_does_not_guess() -> None:
    say = Says("I think the next action is stop")
    assert walk(say, LoopOptions()).ending is Ending.STOPPED
    assert walk(say, LoopOptions(grammar=Grammar.STRICT)).ending is Ending.INVALID


def test_the_expert_scores_full_marks_through_the_loop() -> None:
    def roomy() -> RoomsEnv:
        return RoomsEnv(ROOMS, NavSpec(width=16, height=16))

    outcomes = list(
        walk_all(roomy, roomy().episodes(), Expert(), PROFILES["rooms"], LoopOptions(batch=2))
    )
    assert all(one.scores["sr"] == 1 and one.scores["invalid"] == 0 for one in outcomes)
    assert all(one.reached == " ".join(one.episode.info["pair"]) for one in outcomes)


def options(**changes: object) -> RunOptions:
    return RunOptions(**{"pictures": 1, "setup": {"world": "rooms"}, **changes})  # type: ignore[arg-type] # names are checked by the class


class Dies:
    """Walks at random and falls over after some calls."""

    def __init__(self, calls: int) -> None:
        self.left, self.random = calls, RandomAgent()

    def answer(self, turns: Sequence[Turn]) -> list[str]:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.random.answer(turns)


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    profile = PROFILES["rooms"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    rows = run(make_world, {"random": RandomAgent()}, profile, whole, options())
    with pytest.raises(KeyboardInterrupt):
        run(make_world, {"random": Dies(4)}, profile, broken, options())
    (log,) = broken.glob("walks-*.jsonl")
    kept = len(read_log(log))
    # As kill -9 leaves it: half a line.
    with log.open("a", encoding="utf-8") as stream:
        stream.write('{"episode": "rooms-tr')
    again = run(make_world, {"random": RandomAgent()}, profile, broken, options())
    assert again == rows
    assert kept < len(read_log(log)) == ROOMS.episodes
    assert (broken / "result.json").read_bytes() == (whole / "result.json").read_bytes()


def test_shards_together_are_the_whole(tmp_path: Path) -> None:
    profile, agents = PROFILES["rooms"], {"random": RandomAgent()}
    whole = run(make_world, agents, profile, tmp_path / "whole", options())
    run(make_world, agents, profile, tmp_path / "parts", options(shard=1, shards=2))
    parts = run(make_world, agents, profile, tmp_path / "parts", options(shard=0, shards=2))
    assert parts == whole
    # Another number of shards has nothing left to walk, and counts nothing twice.
    assert run(make_world, {"random": Dies(0)}, profile, tmp_path / "parts", options()) == whole
    with pytest.raises(ConfigError, match=r"of2\.jsonl: walked with world='rooms'"):
        changed = options(setup={"world": "other"}, shard=2, shards=3)
        (tmp_path / "parts" / "walks-random-0of1.jsonl").unlink()
        run(make_world, agents, profile, tmp_path / "parts", changed)


def test_what_a_model_says_cannot_break_the_log(tmp_path: Path) -> None:
    odd = "stop\u2028\x85\x0b"
    run(make_world, {"model": Says(odd)}, PROFILES["rooms"], tmp_path, options(limit=1))
    (log,) = tmp_path.glob("walks-*.jsonl")
    with log.open("a", encoding="utf-8") as stream:
        stream.write('{"half a line')
    (walked,) = read_log(log)
    assert walked.answers == [odd]


def test_a_folder_of_another_setup_is_refused(tmp_path: Path) -> None:
    profile, agents = PROFILES["rooms"], {"random": RandomAgent()}
    run(make_world, agents, profile, tmp_path, options(limit=1))
    with pytest.raises(ConfigError, match="walked with world='rooms', now it is 'habitat'"):
        run(make_world, agents, profile, tmp_path, options(setup={"world": "habitat"}))
    with pytest.raises(ConfigError, match="shard 2 of 2"):
        options(shard=2, shards=2)


def test_the_table_tells_steering_from_naming(tmp_path: Path) -> None:
    run(make_world, {"expert": Expert()}, PROFILES["rooms"], tmp_path, options())
    (row,) = table(read_logs(tmp_path))
    assert row.walks == ROOMS.episodes
    stopped = row.endings["stopped"]
    assert row.means["sr"].value == stopped / ROOMS.episodes
    if stopped:
        assert row.reached_right is not None
        assert row.reached_right.value == 1
    assert np.isfinite(json.loads((tmp_path / "result.json").read_text())["rows"][0]["walks"])


def test_an_interval_ends_where_a_measure_does(tmp_path: Path) -> None:
    run(make_world, {"expert": Expert()}, PROFILES["rooms"], tmp_path, options())
    (records,) = read_logs(tmp_path).values()
    spl = (0.0, 0.0, 0.0, 0.9, 1.0)
    records = [
        replace(one, scores={**one.scores, "spl": value})
        for one, value in zip(records, spl, strict=True)
    ]
    (few,), (most,) = table({"few": records[:4]}), table({"most": records[3:]})
    assert few.means["spl"].low == 0.0
    assert most.means["spl"].high == 1.0
