"""NExT-QA, multiple choice: why, when and what in short videos."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import moving
from hocket.eval.metrics.choice import Choice
from hocket.eval.table import InFile, Layout, Row, Table
from hocket.eval.task import LETTER, Anchor, Task, tasks


@tasks.register
def task() -> Task:
    """Return NExT-QA's validation split; groups are C (causal), T (temporal), D (descriptive)."""
    return Task(
        title="NExT-QA (choice)",
        download="val.csv of https://github.com/doc-doc/NExT-QA and its videos by "
        "their number, or lmms-lab/NExTQA of the Hugging Face hub",
        layouts=(
            Layout(
                table=Table(path="val.csv", kind="csv"),
                fields={"cluster": "video"},
                media={"video": InFile(path="videos/{video}.mp4")},
            ),
            Layout(
                table=Table(path="MC/test-*.parquet", kind="parquet"),
                fields={"cluster": "video"},
                media={"video": InFile(path="NExTVideo/{video}.mp4")},
            ),
        ),
        hook=_five_options,
        prompt="{question}?\n{options}" + LETTER,
        metrics=(Choice(),),
        keep=("type",),
        twin=_twin,
        anchors=(
            Anchor(
                model="SeViLA",
                metric="choice",
                value=73.8,
                source="arXiv 2305.06988",
                note="trained on NExT-QA; quoted from memory: compare with the paper before use",
            ),
        ),
        tags=("video", "choice"),
    )


def _five_options(row: Row) -> Iterable[Row]:
    yield {
        **row,
        "id": f"{row['cluster']}-{row['qid']}",
        "options": [row[f"a{number}"] for number in range(5)],
        "answer": "ABCDE"[int(row["answer"])],
        "group": row["type"][0],
    }


def _twin() -> list[Row]:
    asked = [
        ("4010069381", "which way does the ball move", 1, "TN", moving("red", "circle", "right")),
        ("4010069382", "what moves, and where", 3, "DO", moving("blue", "square", "down")),
    ]
    ways = ["left", "right, slowly", "up", "down", "nowhere"]
    return [
        {
            "cluster": name,
            "frame_count": 8,
            "width": 96,
            "height": 96,
            "question": question,
            "answer": str(answer),
            "qid": "6",
            "type": kind,
            **{f"a{number}": way for number, way in enumerate(ways)},
            "video": video,
        }
        for name, question, answer, kind, video in asked
    ]
