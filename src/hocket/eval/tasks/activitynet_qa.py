"""ActivityNet-QA: open questions about videos of activities, compared by a judge."""

from __future__ import annotations

from hocket.eval.table import InFile, Join, Layout, Table
from hocket.eval.task import Anchor, Task, tasks
from hocket.eval.tasks._video_qa import video_qa


@tasks.register
def task() -> Task:
    """Return ActivityNet-QA's test split."""
    return video_qa(
        "ActivityNet-QA",
        download="test_q.json and test_a.json of https://github.com/MILVLG/activitynet-qa and the "
        "videos of ActivityNet as videos/v_*.mp4",
        layout=Layout(
            table=Table(path="test_q.json"),
            join=Join(table=Table(path="test_a.json"), columns=("answer",), on="question_id"),
            fields={"id": "question_id", "cluster": "video_name"},
            media={"video": InFile(path="videos/v_{video_name}.mp4")},
        ),
        anchors=(
            Anchor(model="VILA1.5-3B", metric="judged_answer", value=50.2, source="VILA, README"),
            Anchor(model="NVILA-8B", metric="judged_answer", value=60.9, source="arXiv 2412.04468"),
        ),
    )
