"""The states of a spoken dialogue."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from hocket.serve.duplex.activity import RATE, Begun, Ended
from hocket.serve.duplex.machine import (
    MOST_SECONDS,
    Action,
    Ask,
    Cancel,
    Dialogue,
    Happening,
    Hush,
    Late,
    Over,
    Phase,
    Said,
    Tell,
    Written,
    advance,
)

SOUND = np.ones(100, np.float32)
QUERY, NOISE, TEXT = "\u261e", "\u261f", "\u261c"


def play(*happenings: Happening, now: Dialogue | None = None) -> tuple[Dialogue, list[Action]]:
    """Let things happen one after the other; return the end and the last actions."""
    state, actions = now or Dialogue(), list[Action]()
    for one in happenings:
        state, actions = advance(state, one)
    return state, actions


def kinds(actions: list[Action]) -> list[str]:
    return [one.kind if isinstance(one, Tell) else type(one).__name__ for one in actions]


def asked(request: int = 1) -> list[Happening]:
    return [Begun(1.0), Ended(2.0, SOUND)]


def answering() -> Dialogue:
    return play(*asked(), Said(1, QUERY + "Yes"))[0]


def test_the_way_of_a_question() -> None:
    state, actions = play(Begun(1.0))
    assert (state.phase, kinds(actions)) == (Phase.HEARING, ["speech_started"])
    state, actions = play(Ended(2.0, SOUND), now=state)
    assert (state.phase, kinds(actions)) == (Phase.DECIDING, ["speech_ended", "Ask", "deciding"])
    state, actions = play(Said(1, ""), now=state)
    assert (state.phase, actions) == (Phase.DECIDING, [])
    state, actions = play(Said(1, QUERY + "Yes"), now=state)
    assert state.phase is Phase.ANSWERING
    assert actions == [
        Tell("answer_started", (("answer", 1), ("state", "spoken"))),
        Tell("text", (("answer", 1), ("text", "Yes"))),
    ]
    state, actions = play(Said(1, ", indeed."), now=state)
    assert actions == [Tell("text", (("answer", 1), ("text", ", indeed.")))]
    state, actions = play(Over(1), now=state)
    assert state.phase is Phase.LISTENING
    assert actions == [Tell("answer_ended", (("answer", 1), ("reason", "done")))]


def test_noise_is_not_answered() -> None:
    state, actions = play(*asked(), Said(1, NOISE + "words that nobody hears"))
    assert state.phase is Phase.LISTENING
    assert actions == [Cancel(1), Tell("ignored", (("reason", "noise"),))]


def test_a_model_without_state_tokens_answers() -> None:
    state, actions = play(*asked(), Said(1, "Yes"))
    assert state.phase is Phase.ANSWERING
    assert actions[0] == Tell("answer_started", (("answer", 1), ("state", "none")))


def test_noise_during_an_answer_leaves_it() -> None:
    state, actions = play(Begun(3.0), now=answering())
    assert (state.phase, kinds(actions)) == (Phase.INTERRUPTED, ["speech_started", "held"])
    state, actions = play(Said(1, " more"), Ended(4.0, SOUND), now=state)
    assert state.phase is Phase.INTERRUPTED
    state, actions = play(Said(2, NOISE), now=state)
    assert (state.phase, state.answering) == (Phase.ANSWERING, 1)
    assert kinds(actions) == ["Cancel", "ignored", "resumed"]
    assert actions[0] == Cancel(2)


def test_a_question_during_an_answer_takes_its_place() -> None:
    state, actions = play(Begun(3.0), Ended(4.0, SOUND), Said(2, QUERY), now=answering())
    assert (state.phase, state.answering) == (Phase.ANSWERING, 2)
    assert actions[:2] == [Cancel(1), Tell("interrupted", (("answer", 1), ("by", 2)))]
    assert kinds(actions) == ["Cancel", "interrupted", "answer_started"]
    state, actions = play(Said(1, "stale"), Over(1), now=state)
    assert (state.answering, actions) == (2, [])


def test_barge_in_ends_the_answer_at_once() -> None:
    now = play(*asked(), Said(1, QUERY), now=Dialogue(barge_in=True))[0]
    state, actions = play(Begun(3.0), now=now)
    assert state.phase is Phase.HEARING
    assert Cancel(1) in actions


def test_a_breath_joins_the_question() -> None:
    state, actions = play(*asked(), Begun(2.5))
    assert kinds(actions) == ["speech_started", "Cancel"]
    state, actions = play(Ended(3.0, SOUND), now=state)
    question = actions[1]
    assert isinstance(question, Ask)
    assert question.request == 2
    assert question.sound is not None
    assert len(question.sound) == 200


def test_whoever_never_pauses_is_asked_about_so_much_sound_at_most() -> None:
    half = np.arange(MOST_SECONDS * RATE // 2, dtype=np.float32)
    state, actions = Dialogue(), list[Action]()
    for _ in range(3):
        state, actions = play(Begun(1.0), Ended(2.0, half), now=state)
    assert kinds(actions) == ["speech_ended", "error", "Ask", "deciding"]
    question = actions[2]
    assert isinstance(question, Ask)
    assert question.sound is not None
    assert len(question.sound) == MOST_SECONDS * RATE
    assert question.sound[-1] == half[-1]


def test_a_click_after_a_question_asks_it_again() -> None:
    _, actions = play(*asked(), Begun(2.5), Ended(3.0, None))
    question = actions[1]
    assert isinstance(question, Ask)
    assert question.sound is not None
    assert len(question.sound) == 100


def test_a_click_is_told() -> None:
    state, actions = play(Begun(1.0), Ended(2.0, None))
    assert state.phase is Phase.LISTENING
    assert kinds(actions) == ["speech_ended", "ignored"]


def test_a_written_question_ends_what_goes_on() -> None:
    state, actions = play(Written("And now?"), now=answering())
    assert kinds(actions) == ["Cancel", "interrupted", "Ask", "deciding"]
    state, actions = play(Said(2, TEXT + "Now."), now=state)
    assert actions[0] == Tell("answer_started", (("answer", 2), ("state", "written")))


def test_speech_does_not_drop_a_written_question() -> None:
    state, actions = play(Written("And?"), Begun(1.0))
    assert kinds(actions) == ["speech_started"]
    state, _ = play(Said(1, "Yes"), now=state)
    assert state.phase is Phase.INTERRUPTED


def test_hush_late_and_faults() -> None:
    assert kinds(play(Hush(), now=answering())[1]) == ["Cancel", "interrupted"]
    state, actions = play(*asked(), Late(1))
    assert (state.phase, kinds(actions)) == (Phase.LISTENING, ["Cancel", "ignored"])
    assert play(Late(1), now=answering())[1] == []
    state, actions = play(*asked(), Over(1, "no memory"))
    assert (state.phase, kinds(actions)) == (Phase.LISTENING, ["error", "ignored"])
    state, actions = play(Over(1, "no memory"), now=answering())
    assert (state.phase, kinds(actions)) == (Phase.LISTENING, ["error", "answer_ended"])


@settings(max_examples=200, deadline=None)
@given(some.lists(some.sampled_from(["b", "e", "c", "w", "q", "n", "o", "f", "h", "l"])))
def test_no_order_of_events_loses_a_request(order: list[str]) -> None:
    """Every request is answered, candidate, cancelled or over, and two at most are under way."""
    state = Dialogue()
    alive: set[int] = set()
    for letter in order:
        newest = max(alive, default=0)
        happenings: dict[str, Happening] = {
            "b": Begun(1.0), "e": Ended(2.0, SOUND), "c": Ended(2.0, None), "w": Written("x"),
            "q": Said(newest, QUERY + "a"), "n": Said(newest, NOISE), "o": Over(newest),
            "f": Over(newest, "fault"), "h": Hush(), "l": Late(newest),
        }  # fmt: skip
        if letter in "of":
            alive.discard(newest)
        state, actions = advance(state, happenings[letter])
        for action in actions:
            if isinstance(action, Ask):
                alive.add(action.request)
            elif isinstance(action, Cancel):
                assert action.request in alive
                alive.discard(action.request)
        assert alive == {one for one in (state.answering, state.candidate) if one is not None}
        assert state.phase in Phase


@pytest.mark.parametrize("text", ["", NOISE])
def test_an_empty_answer_is_told(text: str) -> None:
    state, _ = play(*asked(), Said(1, text), Over(1))
    assert state.phase is Phase.LISTENING
