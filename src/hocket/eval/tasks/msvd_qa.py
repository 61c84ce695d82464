"""MSVD-QA: open questions about short videos, compared by a judge."""

from __future__ import annotations

from hocket.eval.table import InFile, Layout, Table
from hocket.eval.task import Anchor, Task, tasks
from hocket.eval.tasks._video_qa import video_qa


@tasks.register
def task() -> Task:
    """Return MSVD-QA's test split."""
    return video_qa(
        "MSVD-QA",
        download="test_qa.json of https://github.com/xudejing/video-question-answering (MSVD-QA) "
        "and the videos by their number as videos/vid*.avi",
        layout=Layout(
            table=Table(path="test_qa.json"),
            fields={"cluster": "video_id"},
            media={"video": InFile(path="videos/vid{video_id}.avi")},
        ),
        anchors=(
            Anchor(model="VILA1.5-3B", metric="judged_answer", value=76.6, source="VILA, README"),
            Anchor(model="VILA1.5-40B", metric="judged_answer", value=80.1, source="VILA, README"),
        ),
    )
