"""RefCOCOg: find what an expression means; longer expressions."""

from __future__ import annotations

from hocket.eval.task import Anchor, Task, tasks
from hocket.eval.tasks._refer import referring


@tasks.register
def task() -> Task:
    """Return RefCOCOg's validation split."""
    anchor = Anchor(
        model="Qwen-VL-7B",
        metric="box_accuracy",
        value=85.58,
        source="arXiv 2308.12966",
        note="quoted from memory: compare with the paper before use",
    )
    return referring("RefCOCOg", split="val", anchors=(anchor,))
