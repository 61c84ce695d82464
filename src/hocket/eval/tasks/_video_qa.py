"""What MSVD-QA, MSRVTT-QA and ActivityNet-QA share: short answers that a judge compares."""

from __future__ import annotations

from hocket.eval.draw import moving
from hocket.eval.judge import LiteralJudge
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.metrics.judged_answer import JudgedAnswer
from hocket.eval.table import Layout, Row
from hocket.eval.task import SHORT, Anchor, Task


def video_qa(title: str, *, download: str, layout: Layout, anchors: tuple[Anchor, ...]) -> Task:
    """Return the task of one set; rows need ``id``, ``cluster``, ``question`` and ``answer``."""
    return Task(
        title=title,
        download=download,
        layouts=(layout,),
        prompt="{question}" + SHORT,
        metrics=(JudgedAnswer(), ExactMatch()),
        twin=_twin,
        twin_metrics=(JudgedAnswer(judge=LiteralJudge()), ExactMatch()),
        anchors=anchors,
        tags=("video", "vqa", "judge", "short"),
    )


def _twin() -> list[Row]:
    asked = [
        ("what is moving?", "circle", moving("red", "circle")),
        ("what color is the square?", "blue", moving("blue", "square", "down")),
    ]
    return [
        {
            "id": str(at),
            "cluster": f"video{at}",
            "question": question,
            "answer": answer,
            "video": video,
        }
        for at, (question, answer, video) in enumerate(asked)
    ]
