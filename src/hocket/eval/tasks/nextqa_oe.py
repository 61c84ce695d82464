"""NExT-QA, open answers: a few words, scored by how near they are in WordNet."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import moving
from hocket.eval.metrics.wups import Wups
from hocket.eval.table import InFile, Layout, Row, Table
from hocket.eval.task import SHORT, Anchor, Task, tasks
from hocket.eval.wordnet import FewWords

_WORDS = FewWords(
    (
        ("circle", ("thing", "shape", "circle")),
        ("square", ("thing", "shape", "square")),
        ("right", ("thing", "side", "right")),
        ("left", ("thing", "side", "left")),
    )
)


@tasks.register
def task() -> Task:
    """Return NExT-QA's open-ended validation split."""
    return Task(
        title="NExT-QA (open)",
        download="val.csv of NExT-OE (https://github.com/doc-doc/NExT-OE) and the videos of "
        "NExT-QA by their number, or lmms-lab/NExTQA of the Hugging Face hub",
        layouts=(
            Layout(
                table=Table(path="val.csv", kind="csv"),
                fields={"cluster": "video", "group": "type"},
                media={"video": InFile(path="videos/{video}.mp4")},
            ),
            Layout(
                table=Table(path="OE/validation-*.parquet", kind="parquet"),
                fields={"cluster": "video", "group": "type"},
                media={"video": InFile(path="NExTVideo/{video}.mp4")},
            ),
        ),
        hook=_both_answers,
        prompt="{question}?" + SHORT,
        metrics=(Wups(),),
        twin=_twin,
        twin_metrics=(Wups(wordnet=_WORDS),),
        anchors=(
            Anchor(
                model="HGA",
                metric="wups",
                value=25.18,
                source="arXiv 2105.08276",
                note="test split; quoted from memory: compare with the paper before use",
            ),
        ),
        tags=("video", "open", "short"),
    )


def _both_answers(row: Row) -> Iterable[Row]:
    other = row.get("additional_ref_answer")
    yield {
        **row,
        "id": f"{row['cluster']}-{row['qid']}",
        "answer": [row["answer"], *([other] if other else [])],
    }


def _twin() -> list[Row]:
    asked = [
        ("1", "what moves to the right", "circle", "", "DO", moving("red", "circle", "right")),
        ("2", "where does the square go", "left", "to the left", "TN",
         moving("blue", "square", "left")),
        ("3", "how many squares are there", "1", "", "DC", moving("blue", "square", "left")),
    ]  # fmt: skip
    return [
        {
            "cluster": name,
            "frame_count": 8,
            "question": question,
            "answer": answer,
            "qid": "0",
            "group": kind,
            "additional_ref_answer": other,
            "video": video,
        }
        for name, question, answer, other, kind, video in asked
    ]
