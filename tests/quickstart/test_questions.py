"""Answers are right, placeholders fit the media, and nothing gives an answer away."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Literal

import pytest

from hocket._errors import ConfigError, UnknownNameError
from hocket.quickstart.questions import PHRASINGS, TASKS, Composer, Medium, Pool
from hocket.quickstart.speech import DIGIT_WORDS, WORDS

POOL = Pool(
    pictures=[Medium("image", f"images/{n}.png", str(n % 10)) for n in range(30)],
    sounds=[Medium("audio", f"audio/{word}-{n}.flac", word) for word in WORDS for n in range(3)],
    orders=[Medium("video", f"video/o{n}.mp4", f"{n} {n + 1} {n}") for n in range(5)],
    motions=[Medium("video", f"video/m{n}.mp4", WORDS[10 + n % 4]) for n in range(5)],
)
SHOWS = {m.path: m.shows for m in [*POOL.pictures, *POOL.sounds, *POOL.orders, *POOL.motions]}


def composer(split: Literal["train", "heldout"] = "train", seed: int = 0) -> Composer:
    return Composer(POOL, split=split, seed=seed)


def rows(task: str, count: int = 60) -> list[dict[str, Any]]:
    return list(composer().rows(task, count))


def answers(row: dict[str, Any]) -> list[str]:
    return [turn["value"] for turn in row["conversations"] if turn["from"] == "gpt"]


def questions(row: dict[str, Any]) -> list[str]:
    return [turn["value"] for turn in row["conversations"] if turn["from"] == "human"]


def values(row: dict[str, Any]) -> tuple[int, int]:
    return int(SHOWS[row["image"]]), DIGIT_WORDS.index(SHOWS[row["audio"]])


def test_every_question_has_four_phrasings() -> None:
    for name, phrasings in PHRASINGS.items():
        assert len(set(phrasings)) == len(phrasings) >= 4, name


@pytest.mark.parametrize("task", TASKS)
def test_placeholders_fit_the_media(task: str) -> None:
    for row in rows(task):
        text = "\n".join(turn["value"] for turn in row["conversations"])
        kinds = [kind for kind in ("image", "audio", "video") if kind in row]
        assert row["modality"] == ("+".join(kinds) or "text")
        assert row["task"] == task
        for kind in ("image", "audio", "video"):
            assert text.count(f"<{kind}>") == (kind in row)
        assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"] * (
            len(row["conversations"]) // 2
        )


@pytest.mark.parametrize("task", ["digit", "word", "order", "motion"])
def test_the_answer_is_what_the_medium_shows(task: str) -> None:
    for row in rows(task):
        (path,) = (row[kind] for kind in ("image", "audio", "video") if kind in row)
        assert answers(row) == [SHOWS[path]]


@pytest.mark.parametrize("task", ["digit", "word", "match"])
def test_placeholder_stands_before_and_after(task: str) -> None:
    starts = Counter(questions(row)[0].startswith("<") for row in rows(task))
    assert min(starts[True], starts[False]) > 10


def test_every_medium_is_asked_before_one_is_asked_twice_and_then_otherwise() -> None:
    made = rows("digit", 60)
    assert {row["image"] for row in made[:30]} == {row["image"] for row in made[30:]}
    assert len({row["image"] for row in made[:30]}) == 30
    for first, second in zip(made[:30], made[30:], strict=True):
        strip = re.compile(r"\n?<image>\n?")
        assert strip.sub("", questions(first)[0]) != strip.sub("", questions(second)[0])


def test_match_is_right_and_balanced() -> None:
    made = rows("match", 100)
    for row in made:
        digit, word = values(row)
        assert answers(row) == ["yes" if digit == word else "no"]
    assert Counter(answers(row)[0] for row in made) == {"yes": 50, "no": 50}


def test_sum_is_right_and_needs_both() -> None:
    made = rows("sum", 300)
    for row in made:
        assert answers(row) == [str(sum(values(row)))]
    by_digit = {digit: {answers(r)[0] for r in made if values(r)[0] == digit} for digit in range(5)}
    assert min(len(found) for found in by_digit.values()) > 5


def test_arithmetic_is_right_and_never_negative() -> None:
    for row in rows("arithmetic", 200):
        question, answer = questions(row)[0], int(answers(row)[0])
        a, b = (int(number) for number in re.findall(r"\d+", question))
        if question.startswith("Take"):
            a, b = b, a
        minus = any(word in question for word in ("minus", " - ", "Take"))
        assert answer == (a - b if minus else a + b) >= 0


def test_strings_are_reversed_and_held_out() -> None:
    train, heldout = (
        {answers(row)[0] for row in composer(split).rows("string", 500)}
        for split in ("train", "heldout")
    )
    assert not train & heldout
    for row in rows("string"):
        assert answers(row)[0][::-1] in questions(row)[0]


def test_dialogues_mix_media_and_memory() -> None:
    made = rows("dialogue", 100)
    assert {len(answers(row)) for row in made} == {2, 3, 4}
    finals = Counter()
    for row in made:
        digit, word = values(row)
        told = answers(row)
        last = re.sub(r"\n?<\w+>\n?", "", questions(row)[-1])
        (kind,) = (name for name, phrasings in PHRASINGS.items() if last in phrasings)
        finals[kind] += 1
        expected = {
            "total": str(digit + word),
            "agree": "yes" if digit == word else "no",
            "same": "yes" if digit == word else "no",
            "recall digit": str(digit),
            "recall word": DIGIT_WORDS[word],
        }
        assert told[-1] == expected[kind]
        assert str(digit) in told
        if len(told) == 4:
            assert told[2] == str(digit + word)
    assert finals == dict.fromkeys(("total", "agree", "same", "recall digit", "recall word"), 20)
    verdicts = Counter(answers(row)[-1] for row in made if answers(row)[-1] in ("yes", "no"))
    assert verdicts == {"yes": 20, "no": 20}


def test_ids_go_on_and_never_repeat() -> None:
    one = composer()
    made = [row["id"] for task in TASKS for row in (*one.rows(task, 7), *one.rows(task, 7))]
    made += [row["id"] for task in TASKS for row in composer("heldout").rows(task, 7)]
    assert len(set(made)) == len(made)


def test_rows_depend_on_the_seed_alone() -> None:
    for task in ("match", "sum", "dialogue", "string"):
        assert composer(seed=1).rows(task, 20) == composer(seed=1).rows(task, 20)
        assert composer(seed=1).rows(task, 20) != composer(seed=2).rows(task, 20)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'digit'"):
        composer().rows("digits", 1)
    silent = Pool(pictures=POOL.pictures, sounds=POOL.sounds[3:], orders=[], motions=[])
    with pytest.raises(ConfigError, match="a sound of each digit"):
        Composer(silent, split="train", seed=0)
    still = Pool(pictures=POOL.pictures, sounds=POOL.sounds, orders=[], motions=[])
    with pytest.raises(ConfigError, match="no media for the task order"):
        Composer(still, split="train", seed=0).rows("order", 1)
