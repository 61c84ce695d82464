from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.chat.states import NOT_ADDRESSED, split_state, with_states
from hocket.media.audio import Audio

GOLDEN = Path(__file__).parents[1] / "golden" / "pure_vita" / "preprocess_labels.json"
RECORDED: dict[str, Any] = json.loads(GOLDEN.read_text("utf-8"))
ROWS = [row for row in RECORDED["vectors"] if "after_preprocess_multimodal" in row]


def answers(turns: list[list[str]]) -> Conversation:
    messages = []
    for who, text in turns:
        sound = (Audio.from_path("a.wav"),) if "<audio>" in text else ()
        role = Role.USER if who == "human" else Role.ASSISTANT
        messages.append(Message(role, (*sound, Text(text))))
    return Conversation(id="x", messages=tuple(messages))


def test_there_are_rows() -> None:
    assert len(ROWS) > 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['version']}-{row['dialogue']}")
def test_answers_begin_as_recorded(row: dict[str, Any]) -> None:
    turns = RECORDED["dialogues"][row["dialogue"]]
    ignored = () if row["inserted_id"] is None else (row["inserted_id"],)
    marked = with_states(answers(turns), ignored=ignored)
    found = [one.text for one in marked.messages if one.role is Role.ASSISTANT]
    after = row["after_preprocess_multimodal"]
    assert found == [text for (who, _), text in zip(turns, after, strict=True) if who == "gpt"]
    assert with_states(marked) == marked


def test_a_written_answer_is_split_again() -> None:
    assert split_state(NOT_ADDRESSED + "noise") == (NOT_ADDRESSED, "noise")
    assert split_state("plain") == (None, "plain")
    assert split_state("") == (None, "")
