"""DocVQA: questions about scanned documents, scored by similarity of letters."""

from __future__ import annotations

from hocket.eval.draw import printed
from hocket.eval.metrics.anls import Anls
from hocket.eval.table import InColumn, InFile, Layout, Row, Table
from hocket.eval.task import SHORT, Anchor, Task, tasks

_FIELDS = {"id": "questionId", "cluster": "docId", "answer": "answers"}


@tasks.register
def task() -> Task:
    """Return DocVQA's validation split."""
    return Task(
        title="DocVQA",
        download="val_v1.0.json and the documents of task 1 of https://www.docvqa.org, or "
        "lmms-lab/DocVQA of the Hugging Face hub",
        layouts=(
            Layout(
                table=Table(path="val_v1.0.json", key="data"),
                fields={**_FIELDS, "file_name": "image"},
                media={"image": InFile(path="{file_name}")},
            ),
            Layout(
                table=Table(path="DocVQA/validation-*.parquet", kind="parquet"),
                fields=_FIELDS,
                media={"image": InColumn(name="image")},
            ),
        ),
        prompt="{question}" + SHORT,
        metrics=(Anls(),),
        twin=_twin,
        anchors=(
            Anchor(
                model="NVILA-8B",
                metric="anls",
                value=93.7,
                source="arXiv 2412.04468",
                note="quoted from memory: compare with the paper before use",
            ),
        ),
        tags=("image", "ocr", "document", "short"),
    )


def _twin() -> list[Row]:
    asked = [
        ("What is the total?", ["$ 12.50", "12.50"], printed("Invoice 7", "Total: $ 12.50")),
        ("Who signed the letter?", ["J. Smith"], printed("Yours sincerely,", "J. Smith")),
    ]
    return [
        {
            "id": at,
            "cluster": at,
            "question": question,
            "answer": answers,
            "file_name": f"documents/{at}.png",
            "image": image,
        }
        for at, (question, answers, image) in enumerate(asked, 1)
    ]
