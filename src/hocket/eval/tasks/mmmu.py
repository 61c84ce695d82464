"""MMMU: questions of university courses, with one or several pictures in the text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from hocket.chat.conversation import Part, Text
from hocket.eval.draw import one
from hocket.eval.metrics.mmmu import Mmmu
from hocket.eval.table import Layout, Row, Table
from hocket.eval.task import LETTER, SHORT, Anchor, Task, lettered, tasks
from hocket.eval.twin import encode
from hocket.media.image import Image

_PLACE = re.compile(r"<image (\d+)>")


@tasks.register
def task() -> Task:
    """Return MMMU's validation split, all subjects."""
    return Task(
        title="MMMU",
        download="MMMU/MMMU of the Hugging Face hub (a folder of Parquet files for each subject)",
        layouts=(Layout(table=Table(path="*/validation-*.parquet", kind="parquet")),),
        hook=_in_reading_order,
        prompt="",
        metrics=(Mmmu(),),
        keep=("question_type",),
        twin=_twin,
        anchors=(
            Anchor(
                model="LLaVA-1.6-Vicuna-7B",
                metric="mmmu",
                value=35.8,
                source="LLaVA, docs/MODEL_ZOO.md",
            ),
            Anchor(model="VILA1.5-3B", metric="mmmu", value=33.3, source="VILA, README"),
        ),
        tags=("image", "choice", "reasoning"),
    )


def _in_reading_order(row: Row) -> Iterable[Row]:
    """Put each picture where the question or an option speaks of it."""
    options = ast.literal_eval(row["options"])
    text = row["question"] + ("\n" + lettered(options) + LETTER if options else SHORT)
    pieces = _PLACE.split(text)
    parts: list[Part] = []
    for at, piece in enumerate(pieces):
        if at % 2:
            picture = row[f"image_{piece}"]["bytes"]
            parts.append(Image.from_bytes(picture, name=f"{row['id']}: image {piece}"))
        elif piece:
            parts.append(Text(piece))
    answer = row["answer"]
    found = ast.literal_eval(answer) if answer.startswith("[") else answer
    subject = re.sub(r"^\w+?_(.+)_\d+$", r"\1", row["id"])
    yield {**row, "parts": parts, "options": options, "answer": found, "group": subject}


def _twin() -> list[Row]:
    square, circle = (
        {"bytes": encode(picture, ".png"), "path": "a.png"}
        for picture in (one("red", "square"), one("blue", "circle"))
    )
    return [
        {
            "id": "validation_Art_1",
            "question": "What is shown in <image 1>?",
            "options": "['a square', 'a circle']",
            "answer": "A",
            "question_type": "multiple-choice",
            "image_1": square,
            "image_2": circle,
        },
        {
            "id": "validation_Math_1",
            "question": "Which picture shows a circle: <image 1> or <image 2>? Write its number.",
            "options": "[]",
            "answer": "2",
            "question_type": "open",
            "image_1": square,
            "image_2": circle,
        },
    ]
