"""RefCOCO: find what an expression means; photographs of COCO, expressions of a game for two."""

from __future__ import annotations

from hocket.eval.task import Anchor, Task, tasks
from hocket.eval.tasks._refer import referring


@tasks.register
def task() -> Task:
    """Return RefCOCO's validation split."""
    anchor = Anchor(
        model="Qwen-VL-7B",
        metric="box_accuracy",
        value=89.36,
        source="arXiv 2308.12966",
        note="quoted from memory: compare with the paper before use",
    )
    return referring("RefCOCO", split="val", anchors=(anchor,))
