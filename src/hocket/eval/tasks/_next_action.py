"""What R2R and RxR have in common: NaVILA's rows of walks, asked what to do next."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.chat.navigation import next_action_question, walk_frames
from hocket.eval.draw import moving
from hocket.eval.metrics.action_match import ActionMatch
from hocket.eval.table import InFile, Layout, Row, Table
from hocket.eval.task import Anchor, Task
from hocket.media.frames import sampler_from
from hocket.media.image import Image

SHOWN = 8


def next_action(title: str, *, anchors: tuple[Anchor, ...]) -> Task:
    """Return the open-loop task of one set; the closed loop is `hocket nav`."""
    return Task(
        title=f"{title}, next action",
        download=f"{title}/annotations.json and {title}/train of NaVILA-Dataset "
        "(a8cheng/NaVILA-Dataset of the Hugging Face hub)",
        layouts=(
            Layout(
                table=Table(path="annotations.json"),
                fields={"id": "video_id", "question": "q", "answer": "a"},
                media={"image": InFile(path="train/{entry}", each="frames")},
            ),
        ),
        hook=_as_navila_asks,
        prompt="",
        metrics=(ActionMatch(),),
        twin=_twin,
        anchors=anchors,
        tags=("image", "navigation", "action"),
    )


def _as_navila_asks(row: Row) -> Iterable[Row]:
    seen: tuple[Image, ...] = row["image"]
    shown = walk_frames(len(seen), SHOWN, seen.__getitem__)
    episode = row["id"].rpartition("-")[0]
    parts = next_action_question(shown, row["question"])
    yield {**row, "cluster": episode, "parts": parts}


def _twin() -> list[Row]:
    film, _ = moving("red", "circle").load(sampler_from({"kind": "uniform", "frames": 8}))
    pictures = [Image.from_array(frame) for frame in film]
    asked = [
        (3, "The next action is move forward 75 cm."),
        (5, "The next action is turn left 30 degree."),
        (8, "The next action is stop."),
    ]
    return [
        {
            "id": f"101-{count}",
            "question": "Walk to the red circle and stop.",
            "answer": answer,
            "frames": [f"101/frame_{at}.jpg" for at in range(count)],
            "image": tuple(pictures[:count]),
        }
        for count, answer in asked
    ]
