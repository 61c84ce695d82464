"""GQA: compositional questions about scenes, one word or phrase each."""

from __future__ import annotations

from hocket.eval.draw import MIDDLE, picture
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.table import InColumn, InFile, Join, Layout, Row, Table
from hocket.eval.task import SHORT, Anchor, Task, tasks

_LEFT, _RIGHT = (4, 30, 40, 66), (56, 30, 92, 66)


@tasks.register
def task() -> Task:
    """Return GQA's balanced test-dev split."""
    return Task(
        title="GQA",
        download="questions1.2.zip and images.zip of https://cs.stanford.edu/people/dorarad/gqa, "
        "or testdev_balanced_* of lmms-lab/GQA of the Hugging Face hub",
        layouts=(
            Layout(
                table=Table(path="testdev_balanced_questions.json", id_key="id"),
                fields={"cluster": "imageId"},
                media={"image": InFile(path="images/{imageId}.jpg")},
            ),
            Layout(
                table=Table(path="testdev_balanced_instructions/testdev-*.parquet", kind="parquet"),
                join=Join(
                    table=Table(path="testdev_balanced_images/testdev-*.parquet", kind="parquet"),
                    columns=("image",),
                    on="imageId",
                    to="id",
                ),
                fields={"cluster": "imageId"},
                media={"image": InColumn(name="image")},
            ),
        ),
        prompt="{question}" + SHORT,
        metrics=(ExactMatch(), ExactMatch(profile="gqa")),
        twin=_twin,
        anchors=(
            Anchor(
                model="LLaVA-1.5-7B",
                metric="exact_match",
                profile="gqa",
                value=62.0,
                source="LLaVA, docs/MODEL_ZOO.md",
            ),
            Anchor(
                model="VILA1.5-3B",
                metric="exact_match",
                profile="gqa",
                value=61.5,
                source="VILA, README at ec7fb2c",
            ),
        ),
        tags=("image", "vqa", "short"),
    )


def _twin() -> list[Row]:
    sides = picture(("red", "square", _LEFT), ("blue", "circle", _RIGHT))
    alone = picture(("green", "triangle", MIDDLE))
    asked = [
        ("n1", "What is to the left of the circle?", "square", sides),
        ("n1", "Is the circle to the right of the square?", "yes", sides),
        ("n2", "Which color is the triangle?", "green", alone),
    ]
    return [
        {"id": str(at), "cluster": name, "question": question, "answer": answer, "image": image}
        for at, (name, question, answer, image) in enumerate(asked)
    ]
