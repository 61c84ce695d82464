"""EnvDrop as NaVILA asks it: describe which way the robot of a video went."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.chat.navigation import trajectory_question
from hocket.eval.draw import moving
from hocket.eval.metrics.bleu import Bleu
from hocket.eval.metrics.cider_d import CiderD
from hocket.eval.metrics.rouge_l import RougeL
from hocket.eval.table import InFile, Layout, Row, Table
from hocket.eval.task import Task, tasks
from hocket.infer.sampling import Sampling


@tasks.register
def task() -> Task:
    """Return EnvDrop's rows in NaVILA's format; nobody has published a number for this task."""
    return Task(
        title="EnvDrop",
        download="EnvDrop/annotations.json and EnvDrop/videos of NaVILA-Dataset "
        "(a8cheng/NaVILA-Dataset of the Hugging Face hub)",
        layouts=(
            Layout(
                table=Table(path="annotations.json"),
                fields={"id": "video_id", "cluster": "video_id", "answer": "instruction"},
                media={"video": InFile(path="videos/{video_id}.mp4")},
            ),
        ),
        hook=_which_way,
        prompt="",
        metrics=(CiderD(), Bleu(), RougeL()),
        sampling=Sampling(max_new_tokens=128),
        twin=_twin,
        anchors=(),
        tags=("video", "navigation", "caption"),
    )


def _which_way(row: Row) -> Iterable[Row]:
    yield {**row, "answer": [row["answer"]], "parts": trajectory_question(row["video"])}


def _twin() -> list[Row]:
    asked = [
        ("1", "Walk past the red circle and turn right", moving("red", "circle")),
        ("2", "Go down to the blue square then stop", moving("blue", "square", "down")),
        ("3", "Climb up until you see one green triangle", moving("green", "triangle", "up")),
    ]
    return [
        {"id": name, "cluster": name, "answer": instruction, "video": video}
        for name, instruction, video in asked
    ]
