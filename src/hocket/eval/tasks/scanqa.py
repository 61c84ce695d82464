"""ScanQA: questions about rooms, seen as videos of a walk through them."""

from __future__ import annotations

from hocket.eval.draw import moving
from hocket.eval.metrics.bleu import Bleu
from hocket.eval.metrics.cider_d import CiderD
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.metrics.rouge_l import RougeL
from hocket.eval.table import InFile, Layout, Row, Table
from hocket.eval.task import SHORT, Anchor, Task, tasks

_NAVILA = "public tables that quote arXiv 2412.04453"


@tasks.register
def task() -> Task:
    """Return ScanQA's validation split."""
    return Task(
        title="ScanQA",
        download="ScanQA_v1.0_val.json of https://github.com/ATR-DBI/ScanQA and a video of each "
        "ScanNet scene as videos/*.mp4",
        layouts=(
            Layout(
                table=Table(path="ScanQA_v1.0_val.json"),
                fields={"id": "question_id", "cluster": "scene_id", "answer": "answers"},
                media={"video": InFile(path="videos/{scene_id}.mp4")},
            ),
        ),
        prompt="{question}" + SHORT,
        metrics=(CiderD(), ExactMatch(), Bleu(), RougeL()),
        twin=_twin,
        anchors=(
            Anchor(model="NaVILA-8B, 64 frames", metric="cider_d", value=102.7, source=_NAVILA),
            Anchor(model="NaVILA-8B, 16 frames", metric="cider_d", value=99.8, source=_NAVILA),
            Anchor(model="NaVILA-8B, 16 frames", metric="exact_match", value=27.4, source=_NAVILA),
        ),
        tags=("video", "vqa", "navigation", "short"),
    )


def _twin() -> list[Row]:
    asked = [
        ("scene0011_00", "What moves to the right?", "a big red circle", moving("red", "circle")),
        ("scene0015_00", "What goes down?", "the small blue square",
         moving("blue", "square", "down")),
        ("scene0019_00", "What flies up?", "one thin green triangle",
         moving("green", "triangle", "up")),
    ]  # fmt: skip
    return [
        {
            "id": f"val-scene-{at}",
            "cluster": scene,
            "question": question,
            "answer": [answer],
            "object_ids": [at],
            "object_names": ["thing"],
            "video": video,
        }
        for at, (scene, question, answer, video) in enumerate(asked)
    ]
