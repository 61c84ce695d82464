"""ChartQA: questions about charts, numbers within five percent."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import bars
from hocket.eval.metrics.relaxed_accuracy import RelaxedAccuracy
from hocket.eval.table import InColumn, InFile, Layout, Row, Table
from hocket.eval.task import Anchor, Task, tasks


@tasks.register
def task() -> Task:
    """Return ChartQA's test split, the questions that people wrote; the rest are ``augmented``."""
    return Task(
        title="ChartQA",
        download="lmms-lab/ChartQA of the Hugging Face hub, or ChartQA Dataset/test of "
        "https://github.com/vis-nlp/ChartQA",
        layouts=(
            Layout(
                table=Table(path="data/test-*.parquet", kind="parquet"),
                fields={"group": "type"},
                media={"image": InColumn(name="image")},
            ),
            Layout(
                table=Table(path="test/test_human.json"),
                fields={"question": "query", "answer": "label", "cluster": "imgname"},
                media={"image": InFile(path="test/png/{imgname}")},
            ),
        ),
        hook=_named,
        prompt="{question}\nAnswer the question with a single word.",
        metrics=(RelaxedAccuracy(),),
        twin=_twin,
        anchors=(
            Anchor(
                model="NVILA-8B",
                metric="relaxed_accuracy",
                value=86.1,
                source="arXiv 2412.04468",
                note="quoted from memory: compare with the paper before use",
            ),
        ),
        tags=("image", "chart", "short"),
    )


def _named(row: Row) -> Iterable[Row]:
    # Neither form numbers its questions.
    name = f"{row.get('imgname', '')}{row['question']}"
    yield {"group": "human", **row, "id": name}


def _twin() -> list[Row]:
    asked = [
        ("What is the highest value?", "90", bars((30, 90, 60)), "human"),
        ("How many bars are there?", "4", bars((5, 10, 20, 15)), "augmented"),
    ]
    return [
        {
            "question": question,
            "answer": answer,
            "image": image,
            "group": kind,
            "cluster": f"{at}.png",
        }
        for at, (question, answer, image, kind) in enumerate(asked)
    ]
