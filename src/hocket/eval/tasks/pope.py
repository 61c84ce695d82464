"""POPE: is a thing in the picture? Half of the things asked about are not."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import one
from hocket.eval.metrics.yes_no import YesNo
from hocket.eval.table import InColumn, InFile, Layout, Row, Table
from hocket.eval.task import SHORT, Anchor, Task, tasks


@tasks.register
def task() -> Task:
    """Return POPE's three sets: random, popular and adversarial."""
    return Task(
        title="POPE",
        download="lmms-lab/POPE of the Hugging Face hub, or coco_pope_*.json of "
        "https://github.com/AoiDragon/POPE with COCO's val2014",
        layouts=(
            Layout(
                table=Table(path="data/test-*.parquet", kind="parquet"),
                fields={"cluster": "image_source"},
                media={"image": InColumn(name="image")},
            ),
            Layout(
                table=Table(path="coco_pope_*.json", kind="jsonl"),
                fields={
                    "id": "question_id",
                    "question": "text",
                    "answer": "label",
                    "cluster": "image",
                },
                media={"image": InFile(path="val2014/{cluster}")},
            ),
        ),
        hook=_category,
        prompt="{question}" + SHORT,
        metrics=(YesNo(), YesNo(profile="llava")),
        twin=_twin,
        anchors=(
            Anchor(
                model="LLaVA-1.5-7B",
                metric="yes_no",
                profile="llava",
                value=85.9,
                source="LLaVA, docs/MODEL_ZOO.md; the groups 87.2, 86.3, 84.5 in its issue 626",
            ),
            Anchor(
                model="VILA1.5-3B",
                metric="yes_no",
                profile="llava",
                value=85.9,
                source="VILA, README",
            ),
        ),
        tags=("image", "yesno", "hallucination", "short"),
    )


def _category(row: Row) -> Iterable[Row]:
    """Number the questions of all three files, which the authors number each from 1."""
    group = row.get("category") or row["file"].removeprefix("coco_pope_").removesuffix(".json")
    yield {**row, "group": group, "id": f"{group}-{row['id']}"}


def _twin() -> list[Row]:
    red, blue = one("red", "square"), one("blue", "circle")
    asked = [
        ("random", "square", red, "yes", "a.jpg"),
        ("random", "dog", red, "no", "a.jpg"),
        ("popular", "circle", blue, "yes", "b.jpg"),
        ("popular", "person", blue, "no", "b.jpg"),
        ("adversarial", "circle", blue, "yes", "b.jpg"),
        ("adversarial", "triangle", blue, "no", "b.jpg"),
    ]
    return [
        {
            "id": str(at),
            "question": f"Is there a {thing} in the image?",
            "answer": answer,
            "cluster": name,
            "category": group,
            "image": image,
        }
        for at, (group, thing, image, answer, name) in enumerate(asked)
    ]
