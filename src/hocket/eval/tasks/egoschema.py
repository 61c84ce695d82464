"""EgoSchema: long videos as seen by who acts, one question with five options each."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import moving
from hocket.eval.metrics.choice import Choice
from hocket.eval.table import InFile, Join, Layout, Row, Table
from hocket.eval.task import LETTER, Anchor, Task, tasks


@tasks.register
def task() -> Task:
    """Return EgoSchema's 500 questions with published answers; nothing is sent anywhere."""
    return Task(
        title="EgoSchema (subset)",
        download="questions.json, subset_answers.json and the videos of "
        "https://github.com/egoschema/EgoSchema",
        layouts=(
            Layout(
                table=Table(path="questions.json"),
                join=Join(
                    table=Table(path="subset_answers.json", id_key="q_uid", value_key="answer"),
                    columns=("answer",),
                    on="q_uid",
                    optional=True,
                ),
                fields={"id": "q_uid", "cluster": "q_uid"},
                media={"video": InFile(path="videos/{q_uid}.mp4")},
            ),
        ),
        hook=_five_options,
        prompt="{question}\n{options}" + LETTER,
        metrics=(Choice(),),
        twin=_twin,
        anchors=(
            Anchor(model="VILA1.5-3B", metric="choice", value=42.6, source="VILA, README"),
            Anchor(model="VILA1.5-40B", metric="choice", value=58.7, source="VILA, README"),
        ),
        tags=("video", "choice", "long"),
    )


def _five_options(row: Row) -> Iterable[Row]:
    yield {
        **row,
        "options": [row[f"option {number}"] for number in range(5)],
        "answer": "ABCDE"[row["answer"]],
    }


def _twin() -> list[Row]:
    ways = ["left", "right", "up", "down", "nowhere"]
    asked = [("00aa", "red", "circle", 1), ("00bb", "blue", "square", 3)]
    return [
        {
            "id": name,
            "cluster": name,
            "question": f"Where does the {kind} go in the end?",
            "answer": answer,
            **{f"option {number}": f"It goes {way}." for number, way in enumerate(ways)},
            "video": moving(colour, kind, ways[answer], frames=16),
        }
        for name, colour, kind, answer in asked
    ]
