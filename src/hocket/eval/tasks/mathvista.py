"""MathVista: mathematics with pictures; numbers, lists and choices."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import bars, one
from hocket.eval.metrics.mathvista import MathVista
from hocket.eval.table import InColumn, InFile, Layout, Row, Table
from hocket.eval.task import Anchor, Task, tasks
from hocket.infer.sampling import Sampling


@tasks.register
def task() -> Task:
    """Return MathVista's testmini split, asked in the data set's own words."""
    return Task(
        title="MathVista",
        download="AI4Math/MathVista of the Hugging Face hub: data/testmini-*.parquet, or "
        "annot_testmini.json and images.zip",
        layouts=(
            Layout(
                table=Table(path="data/testmini-*.parquet", kind="parquet"),
                fields={"id": "pid", "cluster": "image"},
                media={"image": InColumn(name="decoded_image")},
            ),
            Layout(
                table=Table(path="annot_testmini.json", id_key="pid"),
                fields={"id": "pid", "cluster": "image"},
                media={"image": InFile(path="{cluster}")},
            ),
        ),
        hook=_with_options,
        prompt="{query}",
        metrics=(MathVista(),),
        keep=("query", "question_type", "answer_type", "precision"),
        sampling=Sampling(max_new_tokens=1024),
        twin=_twin,
        anchors=(
            Anchor(
                model="LLaVA-1.6-Vicuna-7B",
                metric="mathvista",
                value=34.6,
                source="LLaVA, docs/MODEL_ZOO.md",
                note="extracted by GPT",
            ),
            Anchor(
                model="Ovis2-8B",
                metric="mathvista",
                value=71.4,
                source="Ovis repository at d1283c9",
                note="VLMEvalKit",
            ),
        ),
        tags=("image", "math", "reasoning"),
    )


def _with_options(row: Row) -> Iterable[Row]:
    group = row["metadata"]["task"] if "metadata" in row else ""
    yield {**row, "options": row.get("choices") or [], "group": group}


def _twin() -> list[Row]:
    whole = "Hint: Please answer the question requiring an integer answer and provide the final "
    pick = "Hint: Please answer the question and provide the correct option letter, e.g., A, B.\n"
    return [
        {
            "id": "1",
            "cluster": "images/1.jpg",
            "question": "What is the sum of the bars?",
            "query": f"{whole}value.\nQuestion: What is the sum of the bars?",
            "question_type": "free_form",
            "answer_type": "integer",
            "answer": "60",
            "metadata": {"task": "figure question answering"},
            "image": bars((10, 20, 30)),
        },
        {
            "id": "2",
            "cluster": "images/2.jpg",
            "question": "Which shape is it?",
            "query": f"{pick}Question: Which shape is it?\nChoices:\n(A) square\n(B) circle",
            "question_type": "multi_choice",
            "answer_type": "text",
            "choices": ["square", "circle"],
            "answer": "circle",
            "metadata": {"task": "geometry problem solving"},
            "image": one("blue", "circle"),
        },
    ]
