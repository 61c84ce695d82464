"""ChartQA: questions about charts, numbers within five percent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hocket.eval.draw import bars
from hocket.eval.metrics.relaxed_accuracy import RelaxedAccuracy
from hocket.eval.table import InColumn, InFile, Layout, Row, Table
from hocket.eval.task import Anchor, Task, tasks


@tasks.register
def task() -> Task:
    """Return ChartQA's test split; groups are the questions of people and the augmented ones."""
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
                table=Table(path="test/test_*.json"),
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
    # Neither form numbers its questions; the files of the second are called after their group.
    name = f"{row.get('cluster', '')}{row['question']}"
    group = row.get("group") or Path(row["file"]).stem.removeprefix("test_")
    yield {**row, "group": group, "id": name}


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
