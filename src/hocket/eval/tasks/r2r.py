"""R2R as NaVILA's rows: the next action of a robot that follows an instruction."""

from __future__ import annotations

from hocket.eval.task import Anchor, Task, tasks
from hocket.eval.tasks._next_action import next_action


@tasks.register
def task() -> Task:
    """Return R2R's decisions, one by one; `hocket nav` drives."""
    anchor = Anchor(
        model="NaVILA-8B",
        metric="success_rate",
        value=54.0,
        source="public tables that quote arXiv 2412.04453",
        note="of closed-loop driving in R2R-CE, which this open-loop task does not measure",
    )
    return next_action("R2R", anchors=(anchor,))
