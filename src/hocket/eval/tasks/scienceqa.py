"""ScienceQA: school questions, half of them with a picture."""

from __future__ import annotations

import string
from collections.abc import Iterable

from hocket.eval.draw import one
from hocket.eval.metrics.choice import Choice
from hocket.eval.table import Layout, Row, Table
from hocket.eval.task import LETTER, Anchor, Task, tasks
from hocket.eval.twin import encode
from hocket.media.image import Image


@tasks.register
def task() -> Task:
    """Return ScienceQA's test split; questions without a picture have the group ``text``."""
    return Task(
        title="ScienceQA",
        download="derek-thomas/ScienceQA of the Hugging Face hub",
        layouts=(
            Layout(
                table=Table(path="data/test-*.parquet", kind="parquet"),
                fields={"options": "choices"},
            ),
        ),
        hook=_with_context,
        prompt="{context}{question}\n{options}" + LETTER,
        metrics=(Choice(),),
        twin=_twin,
        anchors=(
            Anchor(
                model="LLaVA-1.5-7B",
                metric="choice",
                value=66.8,
                source="LLaVA, docs/MODEL_ZOO.md",
                note="questions with a picture",
            ),
            Anchor(model="VILA1.5-3B", metric="choice", value=69.0, source="VILA, README"),
        ),
        tags=("image", "choice", "short"),
    )


def _with_context(row: Row) -> Iterable[Row]:
    stored = row.get("image")
    named = {name: value for name, value in row.items() if name != "image"}
    if stored:
        named["image"] = Image.from_bytes(stored["bytes"], name=f"ScienceQA: {row['question']}")
    yield {
        **named,
        "id": row["question"],
        "context": f"Context: {row['hint']}\n" if row.get("hint") else "",
        "answer": string.ascii_uppercase[row["answer"]],
        "group": "image" if stored else "text",
    }


def _twin() -> list[Row]:
    return [
        {
            "question": "Which shape is this?",
            "options": ["square", "circle"],
            "answer": 1,
            "hint": "Look at the picture.",
            "image": {"bytes": encode(one("blue", "circle"), ".png"), "path": "image.png"},
        },
        {"question": "What is 2 + 2?", "options": ["3", "4", "5"], "answer": 1, "hint": ""},
    ]
