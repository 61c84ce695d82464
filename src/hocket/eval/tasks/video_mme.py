"""Video-MME: choices about videos from eleven seconds to an hour."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hocket.eval.draw import moving
from hocket.eval.metrics.choice import Choice
from hocket.eval.table import InFile, Layout, Row, Table
from hocket.eval.task import LETTER, Anchor, Task, tasks


@tasks.register
def task() -> Task:
    """Return Video-MME without subtitles; groups are short, medium and long."""
    return Task(
        title="Video-MME",
        download="lmms-lab/Video-MME of the Hugging Face hub, its videos unpacked into data/",
        layouts=(
            Layout(
                table=Table(path="videomme/test-*.parquet", kind="parquet"),
                fields={"id": "question_id", "cluster": "videoID", "group": "duration"},
                media={"video": InFile(path="data/{videoID}.mp4")},
            ),
        ),
        hook=_without_letters,
        prompt="{question}\n{options}" + LETTER,
        metrics=(Choice(),),
        keep=("task_type", "domain"),
        twin=_twin,
        anchors=(
            Anchor(model="VITA-1.0", metric="choice", value=59.2, source="VITA, asset pictures"),
        ),
        tags=("video", "choice", "long"),
    )


def _without_letters(row: Row) -> Iterable[Row]:
    """Take away the letters that the options already begin with."""
    yield {**row, "options": [re.sub(r"^[A-D]\.\s*", "", option) for option in row["options"]]}


def _twin() -> list[Row]:
    asked = [
        ("001-1", "fFjv93ACGo8", "short", "B", moving("red", "circle", "right")),
        ("301-1", "aFjv93ACGo9", "medium", "C", moving("red", "circle", "up", frames=16)),
    ]
    return [
        {
            "id": name,
            "cluster": video,
            "group": duration,
            "domain": "Knowledge",
            "task_type": "Action Recognition",
            "question": "Which way does the circle move?",
            "options": ["A. Left.", "B. Right.", "C. Up.", "D. Down."],
            "answer": answer,
            "video": film,
        }
        for name, video, duration, answer, film in asked
    ]
