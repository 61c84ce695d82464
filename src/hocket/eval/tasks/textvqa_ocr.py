"""TextVQA asked with the words that an OCR program found, as LLaVA publishes it."""

from __future__ import annotations

from hocket.eval.draw import printed
from hocket.eval.metrics.vqa_accuracy import VqaAccuracy
from hocket.eval.table import InFile, Join, Layout, Row, Table
from hocket.eval.task import SHORT, Anchor, Task, tasks

_LLAVA = "LLaVA, docs/MODEL_ZOO.md"


@tasks.register
def task() -> Task:
    """Return TextVQA's validation split with the reference words of Rosetta in the prompt."""
    return Task(
        title="TextVQA with OCR tokens",
        download="TextVQA_0.5.1_val.json, TextVQA_Rosetta_OCR_v0.2_val.json and "
        "train_val_images.zip of https://textvqa.org",
        layouts=(
            Layout(
                table=Table(path="TextVQA_0.5.1_val.json", key="data"),
                join=Join(
                    table=Table(path="TextVQA_Rosetta_OCR_v0.2_val.json", key="data"),
                    columns=("ocr_tokens",),
                    on="image_id",
                ),
                fields={"id": "question_id", "cluster": "image_id", "answer": "answers"},
                media={"image": InFile(path="train_images/{image_id}.jpg")},
            ),
        ),
        hook=lambda row: ({**row, "words": ", ".join(row["ocr_tokens"])},),
        prompt="{question}\nReference OCR token: {words}" + SHORT,
        metrics=(VqaAccuracy(profile="evalai"),),
        twin=_twin,
        anchors=(
            Anchor(
                model="LLaVA-1.5-7B",
                metric="vqa_accuracy",
                profile="evalai",
                value=58.2,
                source=_LLAVA,
            ),
            Anchor(
                model="LLaVA-1.5-13B",
                metric="vqa_accuracy",
                profile="evalai",
                value=61.3,
                source=_LLAVA,
            ),
        ),
        tags=("image", "vqa", "ocr", "short"),
    )


def _twin() -> list[Row]:
    asked = [
        ("a1", "what word is on the sign?", "stop", ("STOP",)),
        ("b2", "what number is printed?", "42", ("number", "42")),
    ]
    return [
        {
            "id": number,
            "cluster": name,
            "question": question,
            "answer": [answer] * 10,
            "ocr_tokens": list(lines),
            "image": printed(*lines),
        }
        for number, (name, question, answer, lines) in enumerate(asked, 34602)
    ]
