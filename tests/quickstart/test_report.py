from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hocket.chat.conversation import Conversation, Medium, Message, Part, Role, Text
from hocket.eval.interval import share
from hocket.eval.metrics import Stat
from hocket.eval.question import Question
from hocket.eval.scored import Scored
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.quickstart.report import pick_examples, write_report
from hocket.quickstart.result import QuickstartResult
from hocket.report.charts import interval_bar, loss_chart

PICTURE = Image.from_array(np.full((8, 8, 3), 90, np.uint8))
SOUND = Audio.from_array(np.full(1600, 0.1, np.float32), rate=16000)
FILM = Video.from_array(np.zeros((3, 8, 8, 3), np.uint8), [0.0, 0.1, 0.2])


def scored(task: str, *media: Medium, right: bool = True, answer: str = "7") -> Scored:
    parts: tuple[Part, ...] = (*media, Text("\nWhat is <b>this</b>?"))
    talk = Conversation(id=task, messages=(Message(Role.USER, parts),))
    question = Question(f"{task}#0", talk, "7", "image", task)
    return Scored(question, answer, Stat(score=float(right)))


def result(examples: tuple[Scored, ...]) -> QuickstartResult:
    some = {"image": share(9, 10), "text": share(1, 2)}
    return QuickstartResult(
        seed=3,
        fast=False,
        parameters=1_600_000,
        before={"image": share(0, 10)},
        after=some,
        tasks={"digit": share(9, 10)},
        removed={"image": share(1, 10)},
        swapped={},
        examples=examples,
        seconds={"data": 4.0, "train": 200.0},
        peak_memory_bytes=2**30,
    )


LOG = [
    {"stage": stage, "step": at, "loss": 3 / (at + 1), "tokens": 900, "padding": 0.02}
    | {"step_seconds": 0.2, "data_seconds": 0.02}
    for stage in ("vision", "<joint>")
    for at in range(20)
]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def page(tmp_path: Path) -> str:
    examples = (
        scored("digit", PICTURE),
        scored("word", SOUND, right=False, answer="<script>alert(1)</script>"),
        scored("order", FILM),
    )
    path = tmp_path / "deep" / "report.html"
    write_report(path, result(examples), LOG, config_yaml="name: <x>\n")
    return path.read_text()


def test_nothing_is_fetched_and_nothing_runs(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    sources = [a["src"] for _, a in tags.found if "src" in a]
    assert len(sources) == 3
    assert all(source and source.startswith("data:") for source in sources)
    assert not [tag for tag, _ in tags.found if tag in ("script", "link", "iframe")]
    assert "default-src 'none'" in page


def test_what_a_model_or_a_row_says_is_text(page: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;this&lt;/b&gt;" in page
    assert "name: &lt;x&gt;" in page
    assert "&lt;joint&gt;" in page


def test_every_number_of_the_result_is_there(page: str) -> None:
    for text in ("1.60 million", "seed 3", "90.0%", "10.0%", "1.00 GiB", "200.0", "40 optimizer"):
        assert text in page


def test_right_and_wrong_are_told_in_words(page: str) -> None:
    assert len(re.findall(r"&#10003; right", page)) == 2
    assert len(re.findall(r"&#10007; wrong", page)) == 1


def test_every_picture_has_words_for_those_who_cannot_see_it(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert all(a.get("alt") for tag, a in tags.found if tag == "img")
    assert all(a.get("aria-label") for tag, a in tags.found if tag in ("audio", "video", "svg"))


def test_examples_hold_every_task_and_some_that_are_wrong() -> None:
    many = [scored(f"task{at % 4}", right=at % 10 > 0) for at in range(100)]
    chosen = pick_examples(many, count=24)
    assert len(chosen) == 24
    assert {one.question.task for one in chosen} == {"task0", "task1", "task2", "task3"}
    assert sum(not one.right for one in chosen) == 8
    assert chosen == pick_examples(many, count=24)


def test_without_mistakes_all_examples_are_right_ones() -> None:
    assert all(one.right for one in pick_examples([scored("digit")] * 30))


def test_the_chart_names_each_stage_once_and_draws_every_step() -> None:
    chart = loss_chart(LOG)
    assert chart.count('class="stage"') == 2
    raw = re.search(r'class="raw" points="([^"]+)"', chart)
    assert raw and len(raw[1].split()) == len(LOG)
    assert loss_chart([]) == ""
    assert "nan" not in loss_chart(LOG[:1])


def test_the_bar_says_its_interval() -> None:
    assert "90.0%, interval 59.6% to 98.2%" in interval_bar(*share(9, 10)[:3])
