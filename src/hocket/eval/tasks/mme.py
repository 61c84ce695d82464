"""MME: two yes-no questions for each picture, in fourteen categories."""

from __future__ import annotations

from hocket.eval.draw import one
from hocket.eval.metrics.mme import Mme
from hocket.eval.table import InColumn, Layout, Row, Table
from hocket.eval.task import SHORT, Anchor, Task, tasks

_SUFFIX = " Please answer yes or no."


@tasks.register
def task() -> Task:
    """Return MME; rows of one picture share its name."""
    return Task(
        title="MME",
        download="lmms-lab/MME of the Hugging Face hub",
        layouts=(
            Layout(
                table=Table(path="data/test-*.parquet", kind="parquet"),
                fields={"cluster": "question_id", "group": "category"},
                media={"image": InColumn(name="image")},
            ),
        ),
        hook=lambda row: (
            {
                **row,
                "id": f"{row['cluster']}: {row['question']}",
                "question": row["question"].strip().replace(_SUFFIX, ""),
            },
        ),
        prompt="{question}" + SHORT,
        metrics=(Mme(),),
        twin=_twin,
        anchors=(
            Anchor(
                model="LLaVA-1.5-7B",
                metric="perception",
                value=1510.7,
                source="LLaVA, docs/MODEL_ZOO.md",
            ),
            Anchor(model="VILA1.5-3B", metric="perception", value=1442.44, source="VILA, README"),
            Anchor(model="VITA-1.0", metric="mme", value=2097, source="VITA, asset pictures"),
        ),
        tags=("image", "yesno", "short"),
    )


def _twin() -> list[Row]:
    asked = [
        ("color/1.png", "Is the square red?", "Yes", one("red", "square"), "color"),
        ("color/1.png", "Is the square blue?", "No", one("red", "square"), "color"),
        ("existence/1.png", "Is there a circle?", "Yes", one("blue", "circle"), "existence"),
        ("existence/1.png", "Is there a dog?", "No", one("blue", "circle"), "existence"),
    ]
    return [
        {
            "cluster": name,
            "question": question + _SUFFIX,
            "answer": answer,
            "group": group,
            "image": image,
        }
        for name, question, answer, image, group in asked
    ]
