"""MSVD: short videos to describe, with about forty captions each."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import moving
from hocket.eval.metrics.bleu import Bleu
from hocket.eval.metrics.cider_d import CiderD
from hocket.eval.metrics.rouge_l import RougeL
from hocket.eval.table import InFile, Layout, Row, Table
from hocket.eval.task import Anchor, Task, tasks


@tasks.register
def task() -> Task:
    """Return MSVD captioning, from a file of one object: video -> its captions."""
    return Task(
        title="MSVD captions",
        download="the videos of https://www.cs.utexas.edu/~ml/clamp/videoDescription as "
        "videos/*.avi and the captions of its test split as test_captions.json, "
        '{"VIDEO": ["caption", ...]}',
        layouts=(
            Layout(
                table=Table(path="test_captions.json", id_key="video_id", value_key="answer"),
                fields={"id": "video_id"},
                media={"video": InFile(path="videos/{video_id}.avi")},
            ),
        ),
        hook=_whole,
        prompt="Describe the video in one short sentence.",
        metrics=(CiderD(), Bleu(), RougeL()),
        twin=_twin,
        anchors=(
            Anchor(
                model="GIT",
                metric="cider_d",
                value=180.2,
                source="arXiv 2205.14100",
                note="trained on MSVD; quoted from memory: compare with the paper before use",
            ),
        ),
        tags=("video", "caption"),
    )


def _whole(row: Row) -> Iterable[Row]:
    yield {**row, "question": "", "cluster": row["id"]}


def _twin() -> list[Row]:
    asked = [
        ("-4wsuPCjDBc_5_15", "a red circle moves to the right", moving("red", "circle")),
        ("0lh_UWF9ZP4_62_69", "the blue square is going down", moving("blue", "square", "down")),
        (
            "1dfR5WK3n5c_10_21",
            "one green triangle flies up fast",
            moving("green", "triangle", "up"),
        ),
    ]
    return [
        {"id": name, "answer": [caption, caption], "video": video} for name, caption, video in asked
    ]
