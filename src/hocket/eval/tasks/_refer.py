"""What RefCOCO, RefCOCO+ and RefCOCOg have in common: an expression and its box."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import picture
from hocket.eval.metrics.box_accuracy import BoxAccuracy
from hocket.eval.table import InColumn, InFile, Layout, Row, Table
from hocket.eval.task import Anchor, Task

_THINGS = (("red", "square", (6, 10, 46, 50)), ("blue", "circle", (60, 40, 110, 90)))
_SIZE = (120, 96)


def referring(title: str, *, split: str, anchors: tuple[Anchor, ...]) -> Task:
    """Return the task of one of the three sets.

    Args:
        title: name of the set; its files are called the same, in lower case.
        split: which split, such as ``val``.
        anchors: published numbers.
    """
    name = title.lower()
    return Task(
        title=f"{title} {split}",
        download=f"lmms-lab/{title.replace('+', 'plus')} of the Hugging Face hub, or VILA's "
        f"{name}_{split}.json and COCO's train2014",
        layouts=(
            Layout(
                table=Table(path=f"data/{split}-*.parquet", kind="parquet"),
                fields={"id": "question_id", "sents": "answer", "cluster": "file_name"},
                media={"image": InColumn(name="image")},
            ),
            Layout(
                table=Table(path=f"{name}_{split}.json"),
                fields={"id": "img_id", "cluster": "img_id"},
                media={"image": InFile(path="train2014/{img_id}.jpg")},
            ),
        ),
        hook=_each_expression,
        prompt="Give the bounding box of what this describes, as [left, top, right, bottom] in "
        "shares of the picture from 0 to 1: {question}",
        metrics=(BoxAccuracy(),),
        keep=("width", "height"),
        twin=_twin,
        anchors=anchors,
        tags=("image", "grounding"),
    )


def _each_expression(row: Row) -> Iterable[Row]:
    """Yield a row for each expression, its box in shares of the picture."""
    if "width" in row:
        height, width = row["height"], row["width"]
    else:
        height, width = row["image"].size()
    left, top, across, down = row["bbox"]
    box = [left / width, top / height, (left + across) / width, (top + down) / height]
    for number, expression in enumerate(row["sents"]):
        yield {
            **row,
            "id": f"{row['id']}-{number}",
            "question": expression,
            "answer": box,
            "target": f"[{', '.join(f'{side:.3f}' for side in box)}]",
            "width": width,
            "height": height,
        }


def _twin() -> list[Row]:
    return [
        {
            "id": f"{at}",
            "cluster": f"{at}",
            "sents": [f"the {colour} {kind}", f"{kind} that is {colour}"],
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "width": _SIZE[0],
            "height": _SIZE[1],
            "image": picture(*_THINGS, size=_SIZE),
        }
        for at, (colour, kind, box) in enumerate(_THINGS)
    ]
