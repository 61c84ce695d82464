"""Conversations become questions, and questions lose or swap their media."""

from __future__ import annotations

from pathlib import Path

import pytest

from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.eval.question import (
    Question,
    modality_of,
    questions_of,
    with_swapped_media,
    without_media,
)
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video


def picture(name: str) -> Image:
    return Image.from_path(Path(f"{name}.png"))


def sound(name: str) -> Audio:
    return Audio.from_path(Path(f"{name}.wav"))


def movie(name: str) -> Video:
    return Video.from_path(Path(f"{name}.mp4"))


def turn(role: Role, *parts: Part | str) -> Message:
    return Message(role, tuple(Text(part) if isinstance(part, str) else part for part in parts))


def asked(name: str, target: str, *parts: Part | str, task: str = "colour") -> Question:
    conversation = Conversation(id=name, messages=(turn(Role.USER, *parts),))
    return Question(name, conversation, target, modality_of(conversation), task)


def names_of(question: Question) -> list[str]:
    return [medium.where.name for medium in question.conversation.media()]


def test_every_assistant_turn_is_a_question() -> None:
    system = turn(Role.SYSTEM, "Be brief.")
    first = turn(Role.USER, picture("a"), "\nWhich colour?")
    second = turn(Role.USER, sound("b"), "\nAnd the pitch?")
    row = Conversation(
        id="row",
        messages=(
            system,
            first,
            turn(Role.ASSISTANT, "red"),
            second,
            turn(Role.ASSISTANT, "low"),
            turn(Role.USER, "Thanks."),
        ),
        meta={"task": "mixed"},
        source="data row 3",
    )
    one, two = questions_of([row])
    assert (one.target, two.target) == ("red", "low")
    assert one.conversation.messages == (system, first)
    assert two.conversation.messages == (system, first, turn(Role.ASSISTANT, "red"), second)
    assert (one.modality, two.modality) == ("image", "image+audio")
    assert one.task == two.task == "mixed"
    assert one.id != two.id and one.id.startswith("row#")
    assert one.conversation.source == "data row 3"


def test_without_a_task_the_modality_names_it() -> None:
    row = Conversation(
        id="row", messages=(turn(Role.USER, movie("a"), "?"), turn(Role.ASSISTANT, "up"))
    )
    (question,) = questions_of([row])
    assert (question.modality, question.task) == ("video", "video")


def test_modalities_have_a_fixed_order() -> None:
    parts = (movie("v"), sound("s"), picture("p"), sound("t"), "?")
    assert asked("x", "y", *parts).modality == "image+audio+video"
    assert asked("x", "y", "?").modality == "text"


def test_media_and_their_line_breaks_go() -> None:
    question = asked("x", "red", "Look:\n", picture("a"), sound("b"), "\nWhich\ncolour?")
    (blind,) = without_media([question])
    assert list(blind.conversation.media()) == []
    assert blind.conversation.messages[0].text == "Look:\nWhich\ncolour?"
    assert (blind.target, blind.modality, blind.task) == ("red", "image+audio", "colour")
    assert len(list(question.conversation.media())) == 1 + 1


def test_swapped_media_come_from_another_answer_of_the_same_task() -> None:
    questions = [
        asked("0", "red", picture("red-0"), "\nWhich?"),
        asked("1", "red", picture("red-1"), "\nWhich?"),
        asked("2", "blue", picture("blue-2"), "\nWhich?"),
        asked("3", "blue", picture("other-task"), "?", task="shape"),
        asked("4", "green", sound("green-4"), "?"),
        asked("5", "blue", picture("blue-5"), "\n", picture("blue-6"), "\nWhich?"),
    ]
    for seed in range(5):
        swapped = with_swapped_media(questions, seed=seed)
        assert [one.id for one in swapped] == [one.id for one in questions]
        assert [one.target for one in swapped] == [one.target for one in questions]
        assert names_of(swapped[0]) == names_of(swapped[1]) == ["blue-2.png"]
        assert names_of(swapped[2]) in (["red-0.png"], ["red-1.png"])
        # Nobody else has the same task and the same kinds of media.
        assert swapped[3:] == questions[3:]
        assert swapped[0].conversation.messages[0].text == "\nWhich?"
    assert with_swapped_media(questions, seed=1) == with_swapped_media(questions, seed=1)


def test_several_media_are_swapped_in_order() -> None:
    first = asked("0", "a", picture("p0"), "\n", sound("s0"), "\n?")
    second = asked("1", "b", picture("p1"), "\n", sound("s1"), "\n?")
    assert [names_of(one) for one in with_swapped_media([first, second], seed=0)] == [
        ["p1.png", "s1.wav"],
        ["p0.png", "s0.wav"],
    ]


@pytest.mark.parametrize("change", [without_media, lambda some: with_swapped_media(some, seed=0)])
def test_text_questions_stay(change: object) -> None:
    assert callable(change)
    questions = [asked("0", "3", "1 + 2?"), asked("1", "4", "2 + 2?")]
    assert change(questions) == questions
