"""MSRVTT-QA: open questions about short videos, compared by a judge."""

from __future__ import annotations

from hocket.eval.table import InFile, Layout, Table
from hocket.eval.task import Anchor, Task, tasks
from hocket.eval.tasks._video_qa import video_qa


@tasks.register
def task() -> Task:
    """Return MSRVTT-QA's test split."""
    return video_qa(
        "MSRVTT-QA",
        download="test_qa.json of https://github.com/xudejing/video-question-answering (MSRVTT-QA) "
        "and the videos as videos/video*.mp4",
        layout=Layout(
            table=Table(path="test_qa.json"),
            fields={"cluster": "video_id"},
            media={"video": InFile(path="videos/video{video_id}.mp4")},
        ),
        anchors=(
            Anchor(model="VILA1.5-3B", metric="judged_answer", value=57.5, source="VILA, README"),
            Anchor(model="VILA1.5-40B", metric="judged_answer", value=63.0, source="VILA, README"),
        ),
    )
