"""Conversations become questions, one per assistant turn."""

from __future__ import annotations

from pathlib import Path

from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.eval.question import Question, modality_of, questions_of
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
