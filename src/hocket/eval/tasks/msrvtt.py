"""MSR-VTT: short videos to describe, with twenty captions each."""

from __future__ import annotations

from hocket.eval.draw import moving
from hocket.eval.metrics.bleu import Bleu
from hocket.eval.metrics.cider_d import CiderD
from hocket.eval.metrics.rouge_l import RougeL
from hocket.eval.table import Gather, InFile, Layout, Row, Table
from hocket.eval.task import Anchor, Task, tasks


@tasks.register
def task() -> Task:
    """Return MSR-VTT captioning, test split."""
    return Task(
        title="MSR-VTT captions",
        download="test_videodatainfo.json and the test videos of MSR-VTT (ACM MM 2016 challenge)",
        layouts=(
            Layout(
                table=Table(path="test_videodatainfo.json", key="videos"),
                gather=Gather(
                    table=Table(path="test_videodatainfo.json", key="sentences"),
                    column="caption",
                    on="video_id",
                ),
                fields={"id": "video_id", "cluster": "video_id", "answer": "caption"},
                media={"video": InFile(path="videos/{video_id}.mp4")},
            ),
        ),
        prompt="Describe the video in one short sentence.",
        metrics=(CiderD(), Bleu(), RougeL()),
        twin=_twin,
        anchors=(
            Anchor(
                model="GIT",
                metric="cider_d",
                value=73.9,
                source="arXiv 2205.14100",
                note="trained on MSR-VTT; quoted from memory: compare with the paper before use",
            ),
        ),
        tags=("video", "caption"),
    )


def _twin() -> list[Row]:
    asked = [
        ("video7010", "a red circle moves to the right", moving("red", "circle")),
        ("video7011", "the blue square is going down", moving("blue", "square", "down")),
        ("video7012", "one green triangle flies up fast", moving("green", "triangle", "up")),
    ]
    return [
        {"id": name, "cluster": name, "answer": [caption, caption], "video": video}
        for name, caption, video in asked
    ]
