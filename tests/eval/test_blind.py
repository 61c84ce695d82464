"""Questions lose, swap, blur or silence their media."""

from __future__ import annotations

import numpy as np
import pytest
from tests.eval.test_question import asked, picture, sound
from tests.toy import picture as pixels
from tests.toy import sound as wave
from tests.toy import video as film

from hocket.eval.blind import WAYS, Way, blinded, concerned
from hocket.eval.question import Question
from hocket.media.audio import Audio
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.media.video import Video


def names_of(question: Question) -> list[str]:
    return [medium.where.name for medium in question.conversation.media()]


def test_media_and_their_line_breaks_go() -> None:
    question = asked("x", "red", "Look:\n", picture("a"), sound("b"), "\nWhich\ncolour?")
    assert concerned([question], "removed") == [question]
    blind = blinded(question, "removed")
    assert list(blind.conversation.media()) == []
    assert blind.conversation.messages[0].text == "Look:\nWhich\ncolour?"
    assert (blind.target, blind.modality, blind.task) == ("red", "image+audio", "colour")
    assert len(list(question.conversation.media())) == 2


def test_swapped_media_come_from_another_answer_of_the_same_task() -> None:
    questions = [
        asked("0", "red", picture("red-0"), "\nWhich?"),
        asked("1", "red", picture("red-1"), "\nWhich?"),
        asked("2", "blue", picture("blue-2"), "\nWhich?"),
        asked("3", "blue", picture("other-task"), "?", task="shape"),
        asked("4", "green", sound("green-4"), "?"),
    ]
    for seed in range(5):
        swapped = concerned(questions, "swapped", seed=seed)
        # Nobody else has the task or the kinds of media of the last two.
        assert [one.id for one in swapped] == ["0", "1", "2"]
        assert names_of(swapped[0]) == names_of(swapped[1]) == ["blue-2.png"]
        assert names_of(swapped[2]) in (["red-0.png"], ["red-1.png"])
        assert swapped[0].conversation.messages[0].text == "\nWhich?"
        assert blinded(swapped[0], "swapped") is swapped[0]
    assert concerned(questions, "swapped", seed=1) == concerned(questions, "swapped", seed=1)


def test_several_media_are_swapped_in_order() -> None:
    first = asked("0", "a", picture("p0"), "\n", sound("s0"), "\n?")
    second = asked("1", "b", picture("p1"), "\n", sound("s1"), "\n?")
    assert [names_of(one) for one in concerned([first, second], "swapped")] == [
        ["p1.png", "s1.wav"],
        ["p0.png", "s0.wav"],
    ]


def test_blurring_keeps_sizes_and_times_but_not_shapes() -> None:
    seen = asked("0", "a", pixels(height=40, width=40), film(), "?")
    (image, clip) = blinded(seen, "blurred").conversation.media()
    before, movie = seen.conversation.media()
    assert isinstance(image, Image) and isinstance(before, Image)
    assert isinstance(clip, Video) and isinstance(movie, Video)
    assert image.load().shape == before.load().shape
    assert image.load().std() < 0.5 * before.load().std()
    frames, times = clip.load(Uniform(4))
    assert frames.shape == movie.load(Uniform(4))[0].shape
    assert np.allclose(times, movie.load(Uniform(4))[1])


def test_silence_is_as_long_as_the_sound() -> None:
    heard = asked("0", "a", wave(seconds=0.5), "?")
    (silent,) = blinded(heard, "silent").conversation.media()
    assert isinstance(silent, Audio)
    assert silent.seconds() == pytest.approx(0.5, abs=0.01)
    assert not silent.load(16000).any()


@pytest.mark.parametrize(
    ("way", "who"),
    [("removed", "psb"), ("swapped", ""), ("blurred", "pb"), ("silent", "sb")],
)
def test_only_questions_that_change_are_asked(way: Way, who: str) -> None:
    questions = [
        asked("t", "1", "1 + 0?"),
        asked("p", "2", picture("p"), "?"),
        asked("s", "3", sound("s"), "?"),
        asked("b", "4", picture("b"), sound("b"), "?"),
    ]
    assert way in WAYS
    assert "".join(one.id for one in concerned(questions, way)) == who
