"""VQAv2: open questions about photographs, each answered by ten people."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import one
from hocket.eval.metrics.vqa_accuracy import VqaAccuracy
from hocket.eval.table import InColumn, InFile, Join, Layout, Row, Table
from hocket.eval.task import SHORT, Anchor, Task, tasks

_FIELDS = {"id": "question_id", "cluster": "image_id", "group": "answer_type"}
_LLAVA = "LLaVA, docs/MODEL_ZOO.md"
_VILA = "VILA, README at ec7fb2c"


@tasks.register
def task() -> Task:
    """Return VQAv2's validation split."""
    return Task(
        title="VQAv2",
        download="the questions, annotations and pictures of https://visualqa.org (val2014), or "
        "lmms-lab/VQAv2 of the Hugging Face hub",
        layouts=(
            Layout(
                table=Table(path="v2_OpenEnded_mscoco_val2014_questions.json", key="questions"),
                join=Join(
                    table=Table(path="v2_mscoco_val2014_annotations.json", key="annotations"),
                    columns=("answers", "answer_type", "question_type"),
                    on="question_id",
                ),
                fields=_FIELDS,
                media={"image": InFile(path="val2014/COCO_val2014_{image_id:012d}.jpg")},
            ),
            Layout(
                table=Table(path="data/validation-*.parquet", kind="parquet"),
                fields=_FIELDS,
                media={"image": InColumn(name="image")},
            ),
        ),
        hook=_plain_answers,
        prompt="{question}" + SHORT,
        metrics=(VqaAccuracy(),),
        twin=_twin,
        anchors=(
            Anchor(model="LLaVA-1.5-7B", metric="vqa_accuracy", value=78.5, source=_LLAVA),
            Anchor(model="VILA1.5-3B", metric="vqa_accuracy", value=80.4, source=_VILA),
        ),
        tags=("image", "vqa", "short"),
    )


def _plain_answers(row: Row) -> Iterable[Row]:
    yield {**row, "answer": [answer["answer"] for answer in row["answers"]]}


def _twin() -> list[Row]:
    asked = [
        ("What color is the square?", "red", one("red", "square"), "other"),
        ("Is this a circle?", "yes", one("blue", "circle"), "yes/no"),
        ("How many triangles are there?", "1", one("green", "triangle"), "number"),
    ]
    return [
        {
            "id": number,
            "cluster": number,
            "question": question,
            "question_type": "what",
            "group": kind,
            "answers": [
                {"answer": answer, "answer_confidence": "yes", "answer_id": at}
                for at in range(1, 11)
            ],
            "image": image,
        }
        for number, (question, answer, image, kind) in enumerate(asked, 1)
    ]
