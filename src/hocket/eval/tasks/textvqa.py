"""TextVQA: questions about the print in photographs."""

from __future__ import annotations

from hocket.eval.draw import printed
from hocket.eval.metrics.vqa_accuracy import VqaAccuracy
from hocket.eval.table import InColumn, InFile, Layout, Row, Table
from hocket.eval.task import SHORT, Anchor, Task, tasks


@tasks.register
def task() -> Task:
    """Return TextVQA's validation split, asked without recognised words."""
    return Task(
        title="TextVQA",
        download="TextVQA_0.5.1_val.json and train_val_images.zip of https://textvqa.org, or "
        "lmms-lab/textvqa of the Hugging Face hub",
        layouts=(
            Layout(
                table=Table(path="TextVQA_0.5.1_val.json", key="data"),
                fields={"id": "question_id", "cluster": "image_id", "answer": "answers"},
                media={"image": InFile(path="train_images/{image_id}.jpg")},
            ),
            Layout(
                table=Table(path="data/validation-*.parquet", kind="parquet"),
                fields={"id": "question_id", "cluster": "image_id", "answer": "answers"},
                media={"image": InColumn(name="image")},
            ),
        ),
        prompt="{question}" + SHORT,
        metrics=(VqaAccuracy(profile="evalai"),),
        twin=_twin,
        anchors=(
            Anchor(
                model="NVILA-8B",
                metric="vqa_accuracy",
                profile="evalai",
                value=80.1,
                source="summary of arXiv 2412.04468",
            ),
        ),
        tags=("image", "vqa", "ocr", "short"),
    )


def _twin() -> list[Row]:
    asked = [
        ("a1", "what word is on the sign?", "stop", printed("STOP")),
        ("b2", "what number is printed?", "42", printed("number", "42")),
    ]
    return [
        {
            "id": number,
            "cluster": name,
            "question": question,
            "answer": [answer] * 10,
            "image": image,
        }
        for number, (name, question, answer, image) in enumerate(asked, 34602)
    ]
